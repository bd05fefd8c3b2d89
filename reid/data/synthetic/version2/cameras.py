"""From geometry buffers to what the cameras of version 2 deliver: the five bands, and depth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from reid.data.synthetic.canvas import Array, Five, unit
from reid.data.synthetic.scene import Conditions
from reid.data.synthetic.version2.parts import Buffers, ScenePart

_SEAM = (0.6, 0.6, 0.6, 0.6, 0.8)
"""What is left of a surface's value at the rim of a part: shade in reflected light, a cool seam in heat."""

_LIT, _WASHED = 0.4, 0.75


def ease(conditions: Conditions, rng: np.random.Generator) -> Conditions:
    """The nuisances of version 2: a query and its answers must both show something to cross between them.

    Some nights are lit, and washed-out near infrared and thermal crossover leave a little contrast.
    """
    lit = rng.random() < _LIT
    return replace(
        conditions,
        night=0.0 if lit else conditions.night,
        washout=_WASHED * conditions.washout,
        crossover=_WASHED * conditions.crossover,
    )


def draw_contrast(difficulty: float, rng: np.random.Generator) -> tuple[float, float, float]:
    """What a capture leaves of the textures' contrast in RGB, near infrared and heat; all at difficulty 0.

    Weave, moisture and angle decide it anew for each band and capture; sometimes a texture almost vanishes.
    """
    hard = min(2.0 * difficulty, 1.0)
    left = 1.0 - hard * rng.uniform(0.0, (0.3, 0.5, 0.5))
    faint = rng.random(3) < hard * np.array((0.0, 0.08, 0.12))
    rgb, nir, heat = np.where(faint, 0.15, left)
    return float(rgb), float(nir), float(heat)


def paint_bands(
    buffers: Buffers, parts: Sequence[ScenePart], ground: Array, contrast: tuple[float, float, float]
) -> Array:
    """The true values of red, green, blue, near infrared and heat: (5, H, W) in [0, 1].

    Args:
        buffers: geometry, labelled from 1 in the order of `parts`.
        parts: what the labels stand for.
        ground: (5, H, W), added where wall or ground lie open.
        contrast: what is left of the textures' contrast in RGB, near infrared and heat.
    """
    faded = np.array((*contrast[:1] * 3, *contrast[1:]), np.float32)[:, None]
    low = np.array([(0.0,) * 5] + [p.surface.paint.base for p in parts], np.float32).T
    high = np.array([(0.0,) * 5] + [_accent(p) for p in parts], np.float32).T
    open_ground = np.array([False] + [p.tag in ("wall", "ground") for p in parts])
    seam = np.array(_SEAM, np.float32)[:, None, None]
    bands: Array = low[:, buffers.label]
    bands += ((high - low) * faded)[:, buffers.label] * buffers.weight
    bands *= seam + (1.0 - seam) * buffers.round
    rim = buffers.inside < 0.5
    alpha = buffers.alpha[rim]
    bands[:, rim] = bands[:, rim] * alpha + low[:, buffers.under[rim]] * (1.0 - alpha)
    bands += ground * open_ground[buffers.label]
    return unit(bands)


def _accent(part: ScenePart) -> Five:
    """What the texture draws; the ground itself for a plain part."""
    return part.surface.paint.base if part.plain else part.surface.paint.accent


def see_depth(
    buffers: Buffers,
    parts: Sequence[ScenePart],
    away: float,
    conditions: Conditions,
    rng: np.random.Generator,
) -> NDArray[np.uint16]:
    """The depth picture (H, W) uint16 in millimetres; 0 where there is no reading.

    Args:
        buffers: geometry, labelled from 1 in the order of `parts`.
        parts: what the labels stand for; `near` and `bulge` in metres.
        away: metres between the camera and the figure's plane.
        conditions: noise of the capture.
        rng: where noise and holes are drawn from.
    """
    near = np.array([0.0] + [p.near for p in parts], np.float32)
    bulge = np.array([0.0] + [p.bulge for p in parts], np.float32)
    front = buffers.front
    metres = away - near[front] - bulge[front] * buffers.round
    if conditions.noise:
        # The error of a depth camera grows with distance; rims and random spots give no reading.
        metres += rng.standard_normal(metres.shape, dtype=np.float32) * (conditions.noise * 0.2 * away)
        lost = rng.random(metres.shape, dtype=np.float32)
        rim = buffers.inside < 0.5
        metres[lost < np.where(rim, 8.0, 1.0) * conditions.noise] = 0.0
    return np.maximum(metres * 1000.0 + 0.5, 0.0).astype(np.uint16)
