"""Infrared images computed from a photo without a download: near infrared, random grey, and thermal."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from reid.data.images import Pixels
from reid.generate.filters import Plane, blur, luma, to_pixels
from reid.generate.registry import MaskArray, Rngs, generator
from reid.modality import Target

Level = Annotated[float, Field(ge=0, le=1)]
Share = Annotated[float, Field(ge=-1, le=2)]
Gamma = Annotated[float, Field(gt=0, le=10)]
Sigma = Annotated[float, Field(gt=0, le=64)]


@generator("ir_nir", Target.NIR)
def nir(
    pixels: Pixels,
    rngs: Rngs,
    *,
    red: Share = 0.70,
    green: Share = 0.35,
    blue: Share = -0.05,
    gamma: Gamma = 2.6,
    blur_sigma: Sigma = 0.8,
    low: Level = 0.15,
    high: Level = 0.90,
    noise: Level = 0.02,
) -> Pixels:
    """An active near-infrared camera: linear light mixed towards red, flat contrast, sensor noise.

    (B, H, W, 3) -> (B, H, W). Levels are stretched to [low, high] before the noise; a picture of one
    colour keeps its own brightness within that range.
    """
    linear = (np.arange(256, dtype=np.float32) / 255) ** 2.2
    weights = np.array([red, green, blue], dtype=np.float32)
    planes = blur(np.clip(linear.take(pixels) @ weights, 0, 1) ** np.float32(1 / gamma), blur_sigma)
    for plane in planes:
        darkest, brightest = float(plane.min()), float(plane.max())
        if brightest - darkest > 1 / 255:
            plane -= darkest
            plane /= brightest - darkest
    planes *= high - low
    planes += low
    return to_pixels(_with_noise(planes, rngs, noise))


@generator("ir_gray", Target.NIR)
def gray(
    pixels: Pixels,
    rngs: Rngs,
    *,
    concentration: Annotated[float, Field(gt=0, le=100)] = 1.0,
    gamma_range: Annotated[float, Field(ge=1, le=4)] = 1.5,
) -> Pixels:
    """A random convex mix of the channels, and a gamma within a factor of `gamma_range`.

    (B, H, W, 3) -> (B, H, W). The mix is Dirichlet(`concentration`): 1 is uniform over all mixes, large
    is grey.
    """
    made = np.empty(pixels.shape[:3], np.uint8)
    for picture, rng, out in zip(pixels, rngs, made, strict=True):
        weights = rng.dirichlet([concentration] * 3).astype(np.float32)
        gamma = gamma_range ** rng.uniform(-1, 1)
        mixed = np.clip(picture.astype(np.float32) @ (weights / 255), 0, 1)
        out[:] = to_pixels(mixed ** np.float32(gamma))
    return made


@generator("ir_tir", Target.TIR, needs_mask=True)
def tir(
    pixels: Pixels,
    rngs: Rngs,
    *,
    mask: MaskArray,
    ground: Level = 0.25,
    body: Level = 0.40,
    cloth: Level = 0.22,
    skin: Level = 0.28,
    clutter: Level = 0.10,
    blur_sigma: Sigma = 1.2,
    noise: Level = 0.01,
) -> Pixels:
    """A thermal camera: the masked object is warm, bare skin warmest, light cloth coolest.

    (B, H, W, 3) and the mask (B, H, W) -> (B, H, W). With an empty mask only the background's faint clutter
    remains. The result is only plausible, and only with a real mask: a photo does not show warmth.
    """
    inside = mask.astype(np.float32)
    light = luma(pixels)
    warm = body - cloth * light + skin * _skin(pixels)
    planes = ground + inside * warm + (1 - inside) * (clutter * light)
    return to_pixels(_with_noise(blur(planes, blur_sigma), rngs, noise))


def _skin(pixels: Pixels) -> Plane:
    """(B, H, W, 3) -> (B, H, W), 1 where the colour may be skin's: light, and red over green over blue."""
    red, green, blue = (pixels[..., i].astype(np.float32) / 255 for i in range(3))
    rule = (red > 0.3) & (red > green) & (green > 0.85 * blue) & (red - green > 0.03)
    return rule.astype(np.float32)


def _with_noise(planes: Plane, rngs: Rngs, strength: float) -> Plane:
    """Add white noise of each picture's own state, in place."""
    for plane, rng in zip(planes, rngs, strict=True):
        plane += strength * rng.standard_normal(plane.shape, dtype=np.float32)
    return planes
