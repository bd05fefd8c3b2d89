"""Textures: where a surface shows its accent. The geometry is one for all modalities, the contrast is not."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from reid.data.synthetic.canvas import Array, Bounds, unit
from reid.data.synthetic.identity import VISIBLE_PATTERNS


def _step(t: Array) -> Array:
    """Soft step: 0 below -0.5, 1 above 0.5."""
    return unit(t + 0.5)


def _wave(t: Array) -> Array:
    """Soft square wave of period 1."""
    return _step(2.5 * np.sin(math.tau * t))


def _either(a: Array, b: Array) -> Array:
    """Soft exclusive or."""
    return a + b - 2.0 * a * b


# Accent weight at u (across) and v (down) in [0, 1] of the box, for a repeat r about 1, a phase p in [0, 1).
_DRAW: dict[str, Callable[[Array, Array, float, float], Array]] = {
    "horizontal stripes": lambda u, v, r, p: _wave(3.0 * r * v + p),
    "vertical stripes": lambda u, v, r, p: _wave(2.5 * r * u + p),
    "checks": lambda u, v, r, p: _either(_wave(1.5 * r * u + p), _wave(2.0 * r * v + p)),
    "dots": lambda u, v, r, p: _step(
        4.0 * (np.sin(math.tau * (2.0 * r * u + p)) + np.sin(math.tau * (2.5 * r * v + p)) - 0.7)
    ),
    "two halves": lambda u, v, r, p: _step(12.0 * (u - 0.25 - 0.5 * p)) + 0.0 * v,
    "diagonal sash": lambda u, v, r, p: _step(
        6.0 * (0.22 / r - np.abs((u if p < 0.5 else 1.0 - u) - v - 0.5 * (p % 0.5) + 0.12))
    ),
    "broad band": lambda u, v, r, p: _step(14.0 * (0.16 / r - np.abs(v - 0.2 - 0.6 * p))) + 0.0 * u,
}


@dataclass(frozen=True, slots=True)
class Texture:
    """One pattern with its scale and place."""

    pattern: str = "plain"
    repeat: float = 1.0
    phase: float = 0.0

    def weight(self, x: Array, y: Array, box: Bounds) -> Array | None:
        """Accent weight in [0, 1] on the grid whose box is `box`; None for a plain surface."""
        draw = _DRAW.get(self.pattern)
        if draw is None:
            return None
        x0, y0, x1, y1 = box
        return draw((x - x0) / (x1 - x0), (y - y0) / (y1 - y0), self.repeat, self.phase)


def draw_texture(rng: np.random.Generator, plain: float) -> Texture:
    """A random texture; plain with the probability `plain`."""
    pattern = VISIBLE_PATTERNS[int(rng.integers(len(VISIBLE_PATTERNS)))]
    repeat, phase = float(rng.uniform(0.6, 1.5)), float(rng.random())
    return Texture("plain" if rng.random() < plain else pattern, repeat, phase)
