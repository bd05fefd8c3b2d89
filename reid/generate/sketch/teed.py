"""Photo -> sketch by the edge network TEED: crisp dark lines on white paper."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from reid.data.images import Pixels
from reid.generate.registry import Generated, GeneratorInput, learned_generator
from reid.generate.sketch.teed_network import STRIDE, Teed
from reid.generate.weights import find_file, foreign_weights_error
from reid.modality import Modality, Target
from reid.storage.checkpoints import read_state

BGR_MEAN = (104.007, 116.669, 122.679)
"""What the network was trained on: blue, green, red in 0..255, less these means."""
FLOOR = 1 / (1 + math.exp(0.24985))
"""The least that the fused map can be after its sigmoid: smish never falls below -0.24985."""


@learned_generator(
    "sketch_teed",
    Target.SKETCH,
    needs_weights=True,
    license_note="TEED's published weights are MIT; they were trained on BIPED (images for research use)",
)
class SketchTeed:
    """Edge maps of a 58,910-parameter network, inverted (Soria et al. 2023).

    (H, W, 3) -> (H, W). `scale` resizes the picture before the network sees it: above 1 lines get finer and
    more of them. `contrast` above 1 darkens weak lines, below 1 bleaches them. Flat pictures stay white.
    """

    def __init__(
        self,
        *,
        weights: str,
        device: str = "cpu",
        scale: Annotated[float, Field(ge=0.25, le=4)] = 1.0,
        contrast: Annotated[float, Field(gt=0, le=8)] = 1.0,
    ) -> None:
        """Raises WeightsError when the file is missing or is not a TEED checkpoint."""
        self.net = load_teed(weights).to(device)
        self.mean = torch.tensor(BGR_MEAN, device=device).view(3, 1, 1)
        self.scale, self.contrast = scale, contrast
        self.step = 1 if torch.device(device).type == "cpu" else 64  # more would leave a processor's cache

    @torch.inference_mode()
    def __call__(self, sources: Sequence[GeneratorInput]) -> list[Generated]:
        """One (H, W) uint8 a source; pictures of one size go through the network together."""
        pixels = [s.images[Modality.RGB] for s in sources]
        made: list[Generated | None] = [None] * len(pixels)
        for shape in dict.fromkeys(p.shape for p in pixels):
            same = [i for i, p in enumerate(pixels) if p.shape == shape]
            for start in range(0, len(same), self.step):
                chosen = same[start : start + self.step]
                made_here = self._draw(np.stack([pixels[i] for i in chosen]))
                for i, sketch in zip(chosen, made_here, strict=True):
                    made[i] = sketch
        return [m for m in made if m is not None]

    def _draw(self, pixels: Pixels) -> Pixels:
        height, width = pixels.shape[1:3]
        planes = torch.from_numpy(pixels).to(self.mean.device).permute(0, 3, 1, 2).float()
        planes = planes.flip(1) - self.mean  # (B, 3, H, W), RGB to BGR
        size = (_sides(height * self.scale), _sides(width * self.scale))
        fused: Tensor = torch.sigmoid(self.net(_resize(planes, size))[-1])  # (B, 1, h, w)
        ink = ((fused - FLOOR) / (1 - FLOOR)).clamp(0, 1) ** (1 / self.contrast)
        paper = 1 - _resize(ink, (height, width))[:, 0].clamp(0, 1)  # (B, H, W)
        made: Pixels = (paper * 255).round().to(torch.uint8).cpu().numpy()
        return made


def load_teed(weights: str) -> Teed:
    """The network with a checkpoint's weights. Raises WeightsError."""
    net = Teed()
    state = read_state(find_file(weights))
    try:
        net.load_state_dict(state)
    except RuntimeError as error:
        raise foreign_weights_error(weights, "a TEED checkpoint", state, error) from None
    return net.eval()


def _sides(wanted: float) -> int:
    return max(1, round(wanted / STRIDE)) * STRIDE


def _resize(planes: Tensor, size: tuple[int, int]) -> Tensor:
    if planes.shape[-2:] == size:
        return planes
    return F.interpolate(planes, size, mode="bilinear", antialias=True)
