"""Training-time image transforms on uint8 pixels: geometric draws, shareable between aligned modalities and
the mask; photometric draws and erasing, always per modality.

Recipe: resize, horizontal flip, zero padding and random crop, normalise, random erasing (Zhong et al. 2020)
filled with noise. Pure functions of (pixels, draw), so that a draw can be applied to any aligned picture.
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


def draw_geometry(config: AugmentConfig, rng: np.random.Generator) -> Geometry:
    """One random flip and crop."""
    pad = config.pad
    return Geometry(
        flip=bool(rng.random() < config.flip),
        top=int(rng.integers(0, 2 * pad + 1)),
        left=int(rng.integers(0, 2 * pad + 1)),
        pad=pad,
    )


def apply_geometry(pixels: Pixels, geometry: Geometry) -> Pixels:
    """(H, W[, C]) uint8 -> the same shape, flipped, zero-padded and cropped."""
    height, width = pixels.shape[:2]
    if geometry.flip:
        pixels = pixels[:, ::-1]
    if not geometry.pad:
        return np.ascontiguousarray(pixels)
    edge = ((geometry.pad, geometry.pad),) * 2 + ((0, 0),) * (pixels.ndim - 2)
    padded = np.pad(pixels, edge)
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


def normalise(
    pixels: list[Pixels], mean: tuple[float, float, float], std: tuple[float, float, float]
) -> Tensor:
    """A list of b (H, W, 3) uint8 images -> (b, 3, H, W) float32, (x / 255 - mean) / std."""
    stacked = torch.from_numpy(np.stack(pixels))  # (b, H, W, 3)
    scale = torch.tensor([1 / (255 * s) for s in std])
    shift = torch.tensor([m / s for m, s in zip(mean, std, strict=True)])
    return (stacked * scale - shift).permute(0, 3, 1, 2).contiguous()


def erase(images: Tensor, config: AugmentConfig, rng: np.random.Generator) -> None:
    """Random erasing in place on normalised (b, 3, H, W): one box filled with per-pixel N(0, 1)."""
    height, width = images.shape[2:]
    low, high = math.log(0.3), math.log(1 / 0.3)
    for image in images:
        if rng.random() >= config.erase:
            continue
        for _ in range(10):
            area = rng.uniform(*config.erase_area) * height * width
            aspect = math.exp(rng.uniform(low, high))
            h, w = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if 0 < h < height and 0 < w < width:
                top, left = int(rng.integers(0, height - h + 1)), int(rng.integers(0, width - w + 1))
                noise = rng.standard_normal((3, h, w), dtype=np.float32)
                image[:, top : top + h, left : left + w] = torch.from_numpy(noise)
                break
