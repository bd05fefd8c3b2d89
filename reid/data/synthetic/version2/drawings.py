"""Sketch and colour pencil: what a witness draws from memory of the same geometry."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from reid.data.synthetic.canvas import Array, Frame, unit
from reid.data.synthetic.identity import PALETTE
from reid.data.synthetic.version2.parts import Buffers, ScenePart, rasterise

_FORGETTABLE = (
    *("logo", "bag", "hat", "shoes", "zip", "belt", "pockets", "bands", "neck"),
    *("plate", "roof", "rim", "grille", "sill", "spare"),
)


def remembered(parts: Sequence[ScenePart], forget: float, rng: np.random.Generator) -> list[ScenePart]:
    """The parts without those whose tag is forgotten, each with the probability `forget`."""
    forgotten = {tag for tag in _FORGETTABLE if rng.random() < forget}
    return [part for part in parts if part.tag not in forgotten]


class Drawing:
    """Geometry as drawn by hand: parts, their textures, and the strokes of their outlines."""

    def __init__(self, frame: Frame, parts: Sequence[ScenePart]) -> None:
        half = max(0.35, 0.004 * frame.height)  # half the width of a stroke, pixels
        self.parts = parts
        buffers = Buffers(frame.height, frame.width)
        rasterise(buffers, frame, parts, stroke=half)
        self.label = buffers.label
        self.stroke: Array = unit(half + 0.5 - np.abs(buffers.inside))
        textured = np.array([False] + [not p.plain for p in parts])
        self.weight: Array = buffers.weight * textured[buffers.label]

    def coloured(self, recalled: Mapping[str, str]) -> tuple[Array, Array]:
        """Ground and accent of each label, (L, 3) each; `recalled` says how a colour is remembered."""
        looks = [p.surface for p in self.parts]
        low = np.array([(1.0,) * 3] + [PALETTE[recalled[s.color]] for s in looks], np.float32)
        high = np.array([(1.0,) * 3] + [PALETTE[recalled[s.accent]] for s in looks], np.float32)
        return low, high


def recall_colours(confused: float, rng: np.random.Generator) -> dict[str, str]:
    """Palette name -> what a witness remembers; another one with the probability `confused`."""
    names = list(PALETTE)
    return {n: n if rng.random() >= confused else names[int(rng.integers(len(names)))] for n in names}


def draw_pencil(drawing: Drawing, confused: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A pencil sketch (H, W) uint8: dark outlines on white; what is darker is shaded more, hues do not show.

    Args:
        drawing: geometry with outlines.
        confused: the probability that a colour is remembered as another one.
        rng: where wrong colours and the strength of the shading are drawn from.
    """
    low, high = (colours.mean(1) for colours in drawing.coloured(recall_colours(confused, rng)))
    light = low[drawing.label] + drawing.weight * (high - low)[drawing.label]
    paper: Array = 0.97 - float(rng.uniform(0.45, 0.7)) * (1.0 - light)
    paper -= drawing.stroke * (paper - 0.1)
    return (unit(paper) * 255.0 + 0.5).astype(np.uint8)


def draw_colour_pencil(drawing: Drawing, confused: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A drawing in colour pencil (H, W, 3) uint8: named colours in open strokes, outlines in black.

    Args:
        drawing: geometry with outlines.
        confused: the probability that a colour is remembered as another one.
        rng: where wrong colours and strokes are drawn from.
    """
    low, high = drawing.coloured(recall_colours(confused, rng))
    wax = low[drawing.label] + drawing.weight[..., None] * (high - low)[drawing.label]
    height, width = drawing.label.shape
    slope, period = float(rng.uniform(-1.2, 1.2)), float(rng.uniform(2.5, 4.5))
    grid_y, grid_x = np.ogrid[0:height, 0:width]
    hatch = 0.62 + 0.22 * np.sin((grid_x + slope * grid_y) * (math.tau / period)).astype(np.float32)
    paper: Array = 1.0 - hatch[..., None] * (1.0 - wax)
    paper -= drawing.stroke[..., None] * (paper - 0.12)
    return (unit(paper) * 255.0 + 0.5).astype(np.uint8)
