"""Prompts for a promptable segmenter: crops are centred on their object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Subject = Literal["person", "vehicle"]
_INSIDE: dict[Subject, tuple[tuple[float, float], ...]] = {
    "person": ((0.5, 0.3), (0.5, 0.5), (0.5, 0.7)),  # head and chest, hips, legs
    "vehicle": ((0.5, 0.5),),
}
_CORNERS = ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0))


@dataclass(frozen=True)
class Prompt:
    """A box and points in pixels of one picture; x before y."""

    box: tuple[float, float, float, float]
    points: tuple[tuple[float, float], ...]
    labels: tuple[int, ...]
    """1: the point is on the object; 0: it is not."""


def prompt_for(height: int, width: int, subject: Subject, inset: float = 0.03) -> Prompt:
    """The prompt of a crop: the whole picture less `inset` on each side, points within, and the corners."""
    right, bottom = width - 1, height - 1
    box = (inset * right, inset * bottom, (1 - inset) * right, (1 - inset) * bottom)
    inside = _INSIDE[subject]
    points = tuple((x * right, y * bottom) for x, y in (*inside, *_CORNERS))
    return Prompt(box, points, (1,) * len(inside) + (0,) * len(_CORNERS))
