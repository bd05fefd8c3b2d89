"""Image-to-image networks: a U-Net with skip connections, and a patch discriminator for its training.

Source: Isola et al., "Image-to-image translation with conditional adversarial networks" (CVPR 2017), section
3.2; InfraGAN uses it from visible to infrared.
"""

from __future__ import annotations

import json

import torch
from pydantic import ValidationError
from safetensors.torch import save as save_safetensors
from torch import Tensor, nn
from torch.nn import functional as F

from reid import storage
from reid.config.sections.translate import UNetConfig
from reid.errors import WeightsError
from reid.storage.checkpoints import read_exact
from reid.storage.file_kinds import is_safetensors

META = "anyreid.unet"
_CAP = 8
"""Layers get no wider than so many times the first."""


class UNet(nn.Module):
    """(B, inputs, H, W) in [-1, 1] -> (B, outputs, H, W) in [-1, 1], for any H and W."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.width * min(2**i, _CAP) for i in range(config.depth)]
        down: list[nn.Module] = []
        for i, width in enumerate(widths):
            ends = i in {0, config.depth - 1}  # at one pixel there is nothing to normalise over
            before = [] if i == 0 else [nn.LeakyReLU(0.2)]
            conv = nn.Conv2d(config.inputs if i == 0 else widths[i - 1], width, 4, 2, 1)
            down.append(nn.Sequential(*before, conv, *([] if ends else [_norm(config.norm, width)])))
        up: list[nn.Module] = []
        for i in reversed(range(config.depth)):
            width = widths[i] * (1 if i == config.depth - 1 else 2)  # the skip lies beside it
            outputs = config.outputs if i == 0 else widths[i - 1]
            layers: list[nn.Module] = [nn.ReLU(), nn.ConvTranspose2d(width, outputs, 4, 2, 1)]
            if i > 0:
                layers.append(_norm(config.norm, outputs))
            if config.depth - 4 <= i < config.depth - 1 and i > 0 and config.dropout:
                layers.append(nn.Dropout(config.dropout))
            up.append(nn.Sequential(*layers))
        self.down, self.up = nn.ModuleList(down), nn.ModuleList(up)

    def forward(self, x: Tensor) -> Tensor:
        """Sides that are no multiple of 2^depth are padded by their border, and cut again."""
        height, width = x.shape[-2:]
        unit = 2**self.config.depth
        x = F.pad(x, (0, -width % unit, 0, -height % unit), mode="replicate")
        skips: list[Tensor] = []
        for layer in self.down:
            x = layer(x)
            skips.append(x)
        skips.pop()
        for layer in self.up:
            x = layer(x)
            if skips:
                x = torch.cat([x, skips.pop()], 1)
        return torch.tanh(x[..., :height, :width])


class PatchDiscriminator(nn.Module):
    """(B, inputs, H, W) of a source and its target -> one logit a patch, (B, 1, h, w)."""

    def __init__(self, inputs: int, width: int = 64, layers: int = 3) -> None:
        super().__init__()
        parts: list[nn.Module] = [nn.Conv2d(inputs, width, 4, 2, 1), nn.LeakyReLU(0.2)]
        for i in range(1, layers):
            before, after = width * min(2 ** (i - 1), _CAP), width * min(2**i, _CAP)
            parts += [nn.Conv2d(before, after, 4, 2, 1), _norm("instance", after), nn.LeakyReLU(0.2)]
        parts.append(nn.Conv2d(width * min(2 ** (layers - 1), _CAP), 1, 3, 1, 1))
        self.layers = nn.Sequential(*parts)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return y


def save_unet(uri: str, net: UNet, notes: dict[str, str]) -> None:
    """Write the weights as .safetensors, with the sizes and `notes` in its metadata."""
    state = {k: v.detach().cpu().contiguous() for k, v in net.state_dict().items()}
    storage.write_bytes(uri, save_safetensors(state, {META: net.config.model_dump_json(), **notes}))


def load_unet(uri: str) -> tuple[UNet, dict[str, str]]:
    """The network of a file that `save_unet` wrote, in evaluation mode, and its metadata.

    Raises WeightsError for any other file.
    """
    data = storage.read_bytes(uri)
    state = read_exact(uri, data)
    try:
        notes = _metadata(data)
        net = UNet(UNetConfig.model_validate_json(notes[META]))
        net.load_state_dict(state)
    except KeyError:
        raise WeightsError(f"{uri}: no translator of AnyReID: its metadata has no {META!r}.") from None
    except (ValidationError, RuntimeError, ValueError) as error:
        text = " ".join(str(error).split())
        raise WeightsError(f"{uri}: not a whole translator ({text[:200]}).") from None
    return net.eval(), notes


def _metadata(data: bytes) -> dict[str, str]:
    """The header's free part: 8 bytes of length, then JSON."""
    if not is_safetensors(data):
        return {}
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    return dict(header["__metadata__"])


def _norm(kind: str, width: int) -> nn.Module:
    return nn.BatchNorm2d(width) if kind == "batch" else nn.InstanceNorm2d(width, affine=True)
