"""Photo -> sketch without any download: thin lines, pencil shading, their mix, and bold ink.

All sigmas are pixels of the input, chosen for crops of roughly 384 x 128; on much larger photos the
lines come out thinner. `loosen` shifts, warps and thins the drawing the way a hand would, so that a
model cannot match a training pair by its pixels alone; with a mask it also leaves the paper around the
object white in a share `cut_out` of the drawings (0.5 when loosened, none otherwise).
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from reid.data.images import Pixels
from reid.generate.filters import Plane, blur, luma, to_pixels
from reid.generate.registry import MaskArray, Rngs, generator
from reid.modality import Target

Sigma = Annotated[float, Field(gt=0, le=64)]
Weight = Annotated[float, Field(ge=0, le=1)]
Strength = Annotated[float, Field(gt=0, le=1000)]
Share = Weight | None

_DARKEST = 0.08  # keeps the logarithm finite, and black cloth from swallowing its own folds


@generator("sketch_dog", Target.SKETCH)
def dog(
    pixels: Pixels,
    rngs: Rngs,
    *,
    mask: MaskArray | None = None,
    sigma: Sigma = 0.9,
    gain: Strength = 9.8,
    bias: Annotated[float, Field(ge=-1, le=1)] = 0.016,
    loosen: bool = False,
    cut_out: Share = None,
) -> Pixels:
    """Thin clean lines, by difference of Gaussians of the log luma. (B, H, W, 3) -> (B, H, W)."""
    return _finish(_dog(luma(pixels), sigma, gain, bias), rngs, mask, loosen, cut_out)


@generator("sketch_dodge", Target.SKETCH)
def dodge(
    pixels: Pixels,
    rngs: Rngs,
    *,
    mask: MaskArray | None = None,
    sigma: Sigma = 5.0,
    floor: Annotated[float, Field(gt=0, le=1)] = 0.08,
    gamma: Annotated[float, Field(gt=0, le=10)] = 1.8,
    loosen: bool = False,
    cut_out: Share = None,
) -> Pixels:
    """Soft pencil shading: luma over its blur. (B, H, W, 3) -> (B, H, W). `floor` calms the dark."""
    return _finish(_dodge(luma(pixels), sigma, floor, gamma), rngs, mask, loosen, cut_out)


@generator("sketch_mix", Target.SKETCH)
def mix(
    pixels: Pixels,
    rngs: Rngs,
    *,
    mask: MaskArray | None = None,
    shading: Weight = 0.6,
    loosen: bool = False,
    cut_out: Share = None,
) -> Pixels:
    """`shading` parts of dodge and the rest of dog, at their defaults. (B, H, W, 3) -> (B, H, W)."""
    planes = luma(pixels)
    soft, lines = _dodge(planes, 5.0, 0.08, 1.8), _dog(planes, 0.9, 9.8, 0.016)
    return _finish(shading * soft + (1 - shading) * lines, rngs, mask, loosen, cut_out)


@generator("sketch_xdog", Target.SKETCH)
def xdog(
    pixels: Pixels,
    rngs: Rngs,
    *,
    mask: MaskArray | None = None,
    sigma: Sigma = 0.9,
    sharpness: Strength = 18.0,
    steepness: Strength = 8.0,
    ink: Annotated[float, Field(ge=0, le=100)] = 18.0,
    window: Sigma = 12.0,
    loosen: bool = False,
    cut_out: Share = None,
) -> Pixels:
    """Bold ink: about `ink` percent of the paper goes dark. (B, H, W, 3) -> (B, H, W).

    Luma is first normalised by mean and deviation over `window` pixels, and the threshold is a
    percentile of the picture itself: a fixed one on raw luma floods dark clothes.
    """
    planes = luma(pixels)
    centred = planes - blur(planes, window)
    spread = np.sqrt(blur(centred * centred, window))
    planes = 0.5 + 0.25 * centred / (spread + 0.02)
    edges = (1 + sharpness) * blur(planes, sigma) - sharpness * blur(planes, 1.6 * sigma)
    for picture in edges:
        picture -= np.float32(np.percentile(picture, ink))
    drawn = 1 + np.tanh(steepness * np.minimum(edges, 0))
    return _finish(drawn, rngs, mask, loosen, cut_out)


def loosen_lines(
    sketch: Pixels,
    rng: np.random.Generator,
    *,
    degrees: float = 4.0,
    fraction: float = 0.04,
    warp: float = 2.0,
    dropout: float = 0.05,
) -> Pixels:
    """Redraw a (H, W) sketch a little off: rotation, shift and scale, elastic warp, lines left out.

    Rotation is within +-`degrees`; shift and scale within +-`fraction` of the picture; the warp
    moves a point by `warp` pixels at most; about `dropout` of the area loses its lines. What is
    uncovered is white paper.
    """
    height, width = sketch.shape
    angle = np.deg2rad(rng.uniform(-degrees, degrees))
    scale = 1 + rng.uniform(-fraction, fraction)
    shift = rng.uniform(-fraction, fraction, 2) * (height, width)
    rows, columns = np.indices((height, width), dtype=np.float32)
    y = (rows - (height - 1) / 2 - shift[0]) / scale
    x = (columns - (width - 1) / 2 - shift[1]) / scale
    source_y = np.cos(angle) * y - np.sin(angle) * x + (height - 1) / 2
    source_x = np.sin(angle) * y + np.cos(angle) * x + (width - 1) / 2
    source_y += warp * _smooth_noise(rng, height, width, 8.0)
    source_x += warp * _smooth_noise(rng, height, width, 8.0)
    drawn = _sample(sketch.astype(np.float32), source_y, source_x)
    patches = _smooth_noise(rng, height, width, 2.0)
    drawn[patches < np.quantile(patches, dropout)] = 255.0
    return drawn.round().astype(np.uint8)


def _dog(plane: Plane, sigma: float, gain: float, bias: float) -> Plane:
    log = np.log(plane + _DARKEST)
    difference = blur(log, sigma) - blur(log, 1.6 * sigma)
    return np.clip(1 + gain * np.minimum(difference + bias, 0), 0, 1)


def _dodge(plane: Plane, sigma: float, floor: float, gamma: float) -> Plane:
    ratio = (blur(plane, 0.6) + floor) / (blur(plane, sigma) + floor)
    shaded: Plane = np.clip(ratio, 0, 1) ** gamma
    return shaded


def _finish(planes: Plane, rngs: Rngs, mask: MaskArray | None, loosen: bool, cut_out: float | None) -> Pixels:
    sketches = to_pixels(planes)
    share = (0.5 if loosen else 0.0) if cut_out is None else cut_out
    if mask is not None and share:  # without a mask no coin is thrown
        for sketch, rng, inside in zip(sketches, rngs, mask, strict=True):
            if inside.any() and rng.uniform() < share:
                sketch[~inside] = 255
    if loosen:
        for sketch, rng in zip(sketches, rngs, strict=True):
            sketch[:] = loosen_lines(sketch, rng)
    return sketches


def _smooth_noise(rng: np.random.Generator, height: int, width: int, sigma: float) -> Plane:
    """(H, W) smooth field in [-1, 1]."""
    field = blur(rng.standard_normal((height, width), dtype=np.float32), sigma)
    peak = float(np.abs(field).max())
    return field / np.float32(peak or 1.0)


def _sample(plane: Plane, y: Plane, x: Plane) -> Plane:
    """Bilinear look-up at (y, x); outside the plane is white (255)."""
    height, width = plane.shape
    padded = np.pad(plane, 1, constant_values=255.0)
    y, x = np.clip(y + 1, 0, height + 1), np.clip(x + 1, 0, width + 1)
    top = np.minimum(y.astype(np.int32), height)
    left = np.minimum(x.astype(np.int32), width)
    down, right = y - top, x - left
    stride = width + 2
    corner = top * stride + left  # one flat index for the four neighbours
    stay = 1 - right
    upper = padded.take(corner) * stay + padded.take(corner + 1) * right
    corner += stride
    lower = padded.take(corner) * stay + padded.take(corner + 1) * right
    sampled: Plane = (upper * (1 - down) + lower * down).astype(np.float32)
    return sampled
