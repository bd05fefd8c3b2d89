"""The small network of the study: few convolutions, one space for all modalities."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

DIM = 128


def _block(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class CrossingEncoder(nn.Module):
    """Pictures of any modality -> unit vectors in one space.

    Only a bias after the first convolutions knows the modality. With width 16 and pictures of 64 x 32 pixels
    it has 0.33 million parameters.

    >>> encoder = CrossingEncoder(modalities=6, height=64, width=32).eval()
    >>> encoder(torch.zeros(2, 3, 64, 32, dtype=torch.uint8), torch.tensor([0, 5])).shape
    torch.Size([2, 128])
    """

    def __init__(self, modalities: int, height: int, width: int, channels: int = 16) -> None:
        super().__init__()
        c = channels
        self.stem = nn.Sequential(_block(3, c, 2), _block(c, 2 * c, 1))
        self.kind = nn.Embedding(modalities, 2 * c)
        self.trunk = nn.Sequential(_block(2 * c, 2 * c, 2), _block(2 * c, 4 * c, 1), _block(4 * c, 4 * c, 2))
        nn.init.zeros_(self.kind.weight)
        cells = -(-height // 8) * -(-width // 8)  # each stride rounds up
        self.vector = nn.Linear(4 * c * cells, DIM)
        self.to(memory_format=torch.channels_last)  # half the time of a step on a CPU

    def forward(self, pictures: Tensor, modality: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) of 0 to 255, and the number of each one's modality (B,) -> (B, 128)."""
        values = (pictures.float() / 64.0 - 2.0).contiguous(memory_format=torch.channels_last)
        seen = self.stem(values) + self.kind(modality)[:, :, None, None]
        vectors: Tensor = F.normalize(self.vector(self.trunk(seen).flatten(1)), dim=1)
        return vectors


def encode(encoder: CrossingEncoder, pictures: Tensor, number: int) -> Tensor:
    """All pictures (N, 3, H, W) of modality `number`, in evaluation mode: (N, 128)."""
    encoder.eval()
    with torch.inference_mode():
        blocks = pictures.split(256)
        return torch.cat([encoder(block, torch.full((len(block),), number)) for block in blocks])
