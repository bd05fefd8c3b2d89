"""A part of a scene, and the rasteriser: from parts to one set of geometry buffers for all modalities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reid.data.synthetic.canvas import Array, Bounds, Frame, Shape, unit
from reid.data.synthetic.identity import Surface
from reid.data.synthetic.version2.textures import Texture

PLAIN = Texture()


@dataclass(frozen=True, slots=True)
class ScenePart:
    """One piece of a figure or of its surroundings; later parts cover earlier ones."""

    tag: str  # what it shows ("logo", "bag", "hat" …), so that a witness can forget it
    shape: Shape
    surface: Surface
    near: float = 0.0  # metres towards the camera from the figure's plane
    box: Bounds | None = None  # in which the texture runs; the shape's own when None
    texture: Texture = PLAIN
    bulge: float = 0.12  # metres from rim to middle

    @property
    def plain(self) -> bool:
        """True where no texture runs."""
        return self.texture.pattern == "plain"


class Buffers:
    """What lies where, (H, W) each; labels count the parts from 1, and 0 is what lies behind them."""

    def __init__(self, height: int, width: int) -> None:
        self.label = np.zeros((height, width), np.uint8)  # of the part on top
        self.under = np.zeros((height, width), np.uint8)  # of the part that shows at its rim
        self.inside: Array = np.full((height, width), 99.0, np.float32)  # pixels from the top part's rim
        self.weight: Array = np.zeros(
            (height, width), np.float32
        )  # of the texture's accent, where there is one

    @property
    def alpha(self) -> Array:
        """(H, W), the share of the pixel that the part on top fills."""
        return unit(self.inside + np.float32(0.5))

    @property
    def front(self) -> NDArray[np.uint8]:
        """(H, W), the label of the part that fills most of the pixel."""
        return np.where(self.inside >= 0.0, self.label, self.under)

    @property
    def round(self) -> Array:
        """(H, W), 0 at the rim of a part, 1 where it faces the camera."""
        return unit(self.inside / np.float32(0.045 * self.label.shape[0]))


def rasterise(
    buffers: Buffers, frame: Frame, parts: Sequence[ScenePart], first: int = 1, stroke: float = 0.0
) -> None:
    """Draw parts in order into the buffers, labelled from `first`.

    `stroke` is half the width of outlines in pixels, by which parts reach over their rims.
    """
    reach = np.float32(-0.5 - stroke)
    for number, part in enumerate(parts, first):
        bounds = part.shape.bounds()
        window = frame.window(bounds)
        if window is None:
            continue
        x, y = frame.x[window], frame.y[window]
        inside = part.shape.distance(x, y) * np.float32(-frame.scale)
        seen = inside > reach
        label = buffers.label[window]
        np.copyto(buffers.under[window], label, where=seen)
        np.copyto(label, np.uint8(number), where=seen)
        np.copyto(buffers.inside[window], inside, where=seen)
        weight = part.texture.weight(x, y, part.box or bounds)
        if weight is not None:
            np.copyto(buffers.weight[window], weight, where=seen)
