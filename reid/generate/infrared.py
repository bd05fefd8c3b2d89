"""Photo -> near-infrared without any download: a plausible camera, and random grey."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from reid.data.images import Pixels
from reid.generate.base import generator
from reid.generate.filters import blur, to_pixels
from reid.modality import Modality

Level = Annotated[float, Field(ge=0, le=1)]
Share = Annotated[float, Field(ge=-1, le=2)]
Gamma = Annotated[float, Field(gt=0, le=10)]


@generator("ir_nir", Modality.NIR)
def nir(
    pixels: Pixels,
    rng: np.random.Generator,
    *,
    red: Share = 0.70,
    green: Share = 0.35,
    blue: Share = -0.05,
    gamma: Gamma = 2.6,
    blur_sigma: Annotated[float, Field(gt=0, le=64)] = 0.8,
    low: Level = 0.15,
    high: Level = 0.90,
    noise: Level = 0.02,
) -> Pixels:
    """An active near-infrared camera: linear light mixed towards red, flat contrast, sensor noise.

    (H, W, 3) -> (H, W). Levels are stretched to [low, high] before the noise; a picture of one
    colour keeps its own brightness within that range.
    """
    linear = (np.arange(256, dtype=np.float32) / 255) ** 2.2
    weights = np.array([red, green, blue], dtype=np.float32)
    mixed = np.clip(linear[pixels] @ weights, 0, 1) ** np.float32(1 / gamma)
    plane = blur(mixed, blur_sigma)
    darkest, brightest = float(plane.min()), float(plane.max())
    if brightest - darkest > 1 / 255:
        plane = (plane - darkest) / (brightest - darkest)
    plane = low + (high - low) * plane
    plane += noise * rng.standard_normal(plane.shape, dtype=np.float32)
    return to_pixels(plane)


@generator("ir_gray", Modality.NIR)
def gray(
    pixels: Pixels,
    rng: np.random.Generator,
    *,
    concentration: Annotated[float, Field(gt=0, le=100)] = 1.0,
    gamma_range: Annotated[float, Field(ge=1, le=4)] = 1.5,
) -> Pixels:
    """A random convex mix of the channels, and a gamma within a factor of `gamma_range`.

    (H, W, 3) -> (H, W). The mix is Dirichlet(`concentration`): 1 is uniform over all mixes, large
    is grey.
    """
    weights = rng.dirichlet([concentration] * 3).astype(np.float32)
    gamma = gamma_range ** rng.uniform(-1, 1)
    mixed = np.clip(pixels.astype(np.float32) @ (weights / 255), 0, 1)
    return to_pixels(mixed ** np.float32(gamma))
