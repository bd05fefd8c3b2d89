"""From the true canvas to what the RGB, NIR and thermal cameras deliver."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from reid.data.synthetic.canvas import Array, unit
from reid.data.synthetic.scene import Conditions

Image = NDArray[np.uint8]


@lru_cache(maxsize=8)
def _ramps(height: int, width: int) -> tuple[Array, Array]:
    """Picture coordinates in [-1, 1]: x (1, W) and y (H, 1)."""
    x = np.linspace(-1.0, 1.0, width, dtype=np.float32)[None, :]
    y = np.linspace(-1.0, 1.0, height, dtype=np.float32)[:, None]
    return x, y


def _quantise(image: Array) -> Image:
    """[0, 1] floats to uint8."""
    return (unit(image) * 255.0 + 0.5).astype(np.uint8)


def _shifted(image: Array, shift: tuple[float, float]) -> Array:
    """The (H, W) picture moved by a fraction of pixels in x and y, borders repeated."""
    for axis, amount in ((1, shift[0]), (0, shift[1])):
        if amount == 0.0:
            continue
        whole = math.floor(amount)
        part = amount - whole
        steps = np.arange(image.shape[axis])
        near = np.clip(steps - whole, 0, len(steps) - 1)
        far = np.clip(steps - whole - 1, 0, len(steps) - 1)
        image = (1.0 - part) * image.take(near, axis) + part * image.take(far, axis)
    return image


def _noise(rng: np.random.Generator, shape: tuple[int, ...], sigma: float) -> Array:
    """Gaussian sensor noise."""
    return rng.standard_normal(shape, dtype=np.float32) * np.float32(sigma)


def _glare(conditions: Conditions, x: Array, y: Array) -> Array:
    """Veiling light around its source, (H, W) in [0, 1.2]."""
    gx, gy = 2.0 * conditions.glare_at[0] - 1.0, 2.0 * conditions.glare_at[1] - 1.0
    far = (x - gx) ** 2 + (1.4 * (y - gy)) ** 2
    return conditions.glare * (0.9 * np.exp(-1.6 * far) + 0.3)


def see_rgb(canvas: Array, conditions: Conditions, rng: np.random.Generator) -> Image:
    """The colour picture (H, W, 3) of the canvas (5, H, W)."""
    _, height, width = canvas.shape
    x, y = _ramps(height, width)
    light = conditions.exposure * (1.0 + conditions.slant[0] * x + conditions.slant[1] * y)
    if conditions.night:
        light *= 0.07 * (1.0 - 0.75 * conditions.night)
    image = canvas[:3] * np.array(conditions.cast, np.float32)[:, None, None] * light
    if conditions.glare:
        image += _glare(conditions, x, y) * (0.35 if conditions.night else 1.0)
    if conditions.gamma != 1.0:
        np.maximum(image, 0.0, out=image)
        image **= conditions.gamma
    if conditions.noise:
        image += _noise(rng, image.shape, conditions.noise)
    return np.ascontiguousarray(_quantise(image).transpose(1, 2, 0))


def see_nir(canvas: Array, conditions: Conditions, rng: np.random.Generator) -> Image:
    """The near-infrared picture (H, W): own lamp, so that night does not matter."""
    _, height, width = canvas.shape
    x, y = _ramps(height, width)
    image = _shifted(canvas[3], conditions.nir_shift) * conditions.nir_gain
    if conditions.noise:
        lx, ly = conditions.lamp_at
        image = image * (1.15 - 0.28 * ((x - lx) ** 2 + (y - ly) ** 2))  # the lamp's cone
    if conditions.washout:
        level = 0.25 + 0.5 * conditions.glare_at[0]
        image = level + (image - level) * (1.0 - 0.97 * conditions.washout)
    if conditions.glare:
        image = image + 0.6 * _glare(conditions, x, y)
    if conditions.noise:
        image = image + _noise(rng, image.shape, conditions.noise)
    return _quantise(image)


def see_tir(canvas: Array, conditions: Conditions, rng: np.random.Generator) -> Image:
    """The thermal picture (H, W), white hot, slightly blurred; blind to light of any kind."""
    image = _shifted(canvas[4], conditions.tir_shift)
    for axis in (0, 1):
        image = 0.5 * image + 0.25 * (np.roll(image, 1, axis) + np.roll(image, -1, axis))
    if conditions.crossover:
        level = 0.35 + 0.3 * conditions.glare_at[1]
        image = level + (image - level) * (1.0 - 0.97 * conditions.crossover)
    image = image * conditions.heat_gain + conditions.heat_offset
    if conditions.noise:
        image = image + _noise(rng, image.shape, conditions.noise)
    return _quantise(image)
