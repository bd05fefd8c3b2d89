"""Training-time image transforms on uint8 pixels: geometry, which aligned modalities and the mask can share,
and photometry and erasing, which are drawn for each modality.

Recipe: horizontal flip, padding and random crop, normalisation, random erasing (Zhong et al. 2020) with
noise; images arrive resized. All are pure functions of (pixels, draw), so one draw fits every aligned image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from reid.config import AugmentConfig
from reid.data.images import Pixels


@dataclass(frozen=True)
class Geometry:
    """A drawn flip and crop offset, in pixels of the padded image."""

    flip: bool
    top: int
    left: int
    pad: int
    mirror: bool = False  # pad with what lies at the edge, not with zeros


def draw_geometry(config: AugmentConfig, rng: np.random.Generator) -> Geometry:
    """One random flip and crop."""
    pad = config.pad
    return Geometry(
        flip=bool(rng.random() < config.flip),
        top=int(rng.integers(0, 2 * pad + 1)),
        left=int(rng.integers(0, 2 * pad + 1)),
        pad=pad,
        mirror=config.pad_mode == "symmetric",
    )


def apply_geometry(pixels: Pixels, geometry: Geometry) -> Pixels:
    """(H, W[, C]) uint8 -> the same shape, flipped, padded and cropped."""
    height, width = pixels.shape[:2]
    if geometry.flip:
        pixels = pixels[:, ::-1]
    if not geometry.pad:
        return np.ascontiguousarray(pixels)
    edge = ((geometry.pad, geometry.pad),) * 2 + ((0, 0),) * (pixels.ndim - 2)
    padded = np.pad(pixels, edge, mode="symmetric" if geometry.mirror else "constant")
    return padded[geometry.top : geometry.top + height, geometry.left : geometry.left + width]


def jitter(pixels: Pixels, amount: float, rng: np.random.Generator) -> Pixels:
    """Random brightness and contrast, each within 1 +- amount; (H, W, C) uint8 -> same."""
    if amount <= 0:
        return pixels
    contrast, brightness = 1 + amount * rng.uniform(-1, 1, 2)
    mean = pixels.mean()
    floats = ((pixels - mean) * contrast + mean) * brightness
    clipped: Pixels = floats.clip(0, 255).round().astype(np.uint8)
    return clipped


def random_channel(pixels: Pixels, chance: float, rng: np.random.Generator) -> Pixels:
    """With a probability, replace all three channels by one of them; (H, W, 3) uint8 -> same.

    Channel exchange of visible-infrared ReID (CAJ, Ye et al. 2021), without its grey and erasing parts.
    """
    if chance <= 0 or rng.random() >= chance:
        return pixels
    channel = int(rng.integers(3))
    return np.repeat(pixels[:, :, channel : channel + 1], 3, axis=2)


def normalise(
    pixels: list[Pixels], mean: tuple[float, float, float], std: tuple[float, float, float]
) -> Tensor:
    """A list of b (H, W, 3) uint8 images -> (b, 3, H, W) float32, (x / 255 - mean) / std."""
    stacked = torch.from_numpy(np.stack(pixels))  # (b, H, W, 3)
    scale = torch.tensor([1 / (255 * s) for s in std])
    shift = torch.tensor([m / s for m, s in zip(mean, std, strict=True)])
    return (stacked * scale - shift).permute(0, 3, 1, 2).contiguous()


@dataclass(frozen=True)
class Box:
    """A drawn rectangle, in pixels."""

    top: int
    left: int
    height: int
    width: int


def draw_box(height: int, width: int, config: AugmentConfig, rng: np.random.Generator) -> Box | None:
    """The box to erase, or None: by chance, or when ten tries gave no box that fits into the image.

    The share of the area is uniform in `erase_area`, the logarithm of height / width in +-log(1 / 0.3).
    """
    if rng.random() >= config.erase:
        return None
    most = math.log(1 / 0.3)
    for _ in range(10):
        area = rng.uniform(*config.erase_area) * height * width
        aspect = math.exp(rng.uniform(-most, most))
        h, w = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < h < height and 0 < w < width:
            return Box(int(rng.integers(0, height - h + 1)), int(rng.integers(0, width - w + 1)), h, w)
    return None


def erase(images: Tensor, config: AugmentConfig, rng: np.random.Generator) -> None:
    """Random erasing in place on normalised (b, 3, H, W): one box each, filled with per-pixel N(0, 1)."""
    height, width = images.shape[2:]
    for image in images:
        box = draw_box(height, width, config, rng)
        if box is None:
            continue
        noise = rng.standard_normal((3, box.height, box.width), dtype=np.float32)
        area = image[:, box.top : box.top + box.height, box.left : box.left + box.width]
        area.copy_(torch.from_numpy(noise))
