"""Analytic shapes drawn on a five-channel canvas: red, green, blue, near infrared, heat.

Every shape is a signed distance on a pixel grid, evaluated only inside its bounding window, so
that a figure of some thirty parts costs about a millisecond.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

# float32 at run time; the stubs of NumPy widen it to float64 at every other operation.
Array = NDArray[np.floating[Any]]
Bounds = tuple[float, float, float, float]  # x0, y0, x1, y1 in figure units
Five = tuple[float, float, float, float, float]

RGB, NIR, HEAT, ALL = slice(0, 3), slice(3, 4), slice(4, 5), slice(0, 5)


def unit(t: Array) -> Array:
    """Values limited to [0, 1]: two ufuncs are quicker than `np.clip` on small windows."""
    return np.minimum(np.maximum(t, 0.0), 1.0)


def _edge(t: Array) -> Array:
    """Soft step: 0 below -0.5, 1 above 0.5."""
    return unit(t + 0.5)


def _wave(t: Array) -> Array:
    """Soft square wave of period 1."""
    return _edge(2.0 * np.sin(math.tau * t))


def _either(a: Array, b: Array) -> Array:
    """Soft exclusive or."""
    return a + b - 2.0 * a * b


# Weight of the accent over the base, for u (across) and v (down) in [0, 1] of the part's box.
PATTERNS: dict[str, Callable[[Array, Array], Array]] = {
    "horizontal stripes": lambda u, v: _wave(3.0 * v + 0.5),
    "vertical stripes": lambda u, v: _wave(2.5 * u + 0.5),
    "checks": lambda u, v: _either(_wave(1.5 * u + 0.25), _wave(2.0 * v)),
    "dots": lambda u, v: _edge(4.0 * (np.sin(math.tau * 2.0 * u - 0.5) + np.sin(math.tau * 2.5 * v) - 0.7)),
    "two halves": lambda u, v: _edge(12.0 * (u - 0.5)) + 0.0 * v,
    "diagonal sash": lambda u, v: _edge(6.0 * (0.17 - np.abs(u - v))),
    "broad band": lambda u, v: _edge(14.0 * (0.16 - np.abs(v - 0.45))) + 0.0 * u,
    "top": lambda u, v: _edge(12.0 * (0.42 - v)) + 0.0 * u,
    "bottom": lambda u, v: _edge(12.0 * (v - 0.58)) + 0.0 * u,
    "core": lambda u, v: _edge(8.0 * (0.30 - np.hypot(u - 0.5, 0.8 * (v - 0.45)))),
    "rim": lambda u, v: _edge(8.0 * (np.hypot(u - 0.5, 0.8 * (v - 0.5)) - 0.32)),
    "quarters": lambda u, v: _either(_edge(12.0 * (u - 0.5)), _edge(12.0 * (v - 0.5))),
}


@dataclass(frozen=True, slots=True)
class Paint:
    """What covers a part: base and accent in five channels, and one pattern a sensor."""

    base: Five
    accent: Five
    patterns: tuple[str, str, str] = ("plain", "plain", "plain")  # rgb, nir, heat


@dataclass(frozen=True, slots=True)
class Ellipse:
    """An axis-aligned ellipse."""

    x: float
    y: float
    rx: float
    ry: float

    def bounds(self) -> Bounds:
        """Box around the shape, figure units."""
        return self.x - self.rx, self.y - self.ry, self.x + self.rx, self.y + self.ry

    def distance(self, x: Array, y: Array) -> Array:
        """Approximate signed distance, negative inside; same shape as `x`."""
        k = np.sqrt(((x - self.x) / self.rx) ** 2 + ((y - self.y) / self.ry) ** 2)
        distance: Array = (k - 1.0) * min(self.rx, self.ry)
        return distance


@dataclass(frozen=True, slots=True)
class Capsule:
    """A thick segment with round ends: limbs, straps, poles."""

    ax: float
    ay: float
    bx: float
    by: float
    r: float

    def bounds(self) -> Bounds:
        """Box around the shape, figure units."""
        r = self.r
        return (
            min(self.ax, self.bx) - r,
            min(self.ay, self.by) - r,
            max(self.ax, self.bx) + r,
            max(self.ay, self.by) + r,
        )

    def distance(self, x: Array, y: Array) -> Array:
        """Signed distance, negative inside; same shape as `x`."""
        dx, dy = self.bx - self.ax, self.by - self.ay
        px, py = x - self.ax, y - self.ay
        t = unit((px * dx + py * dy) / (dx * dx + dy * dy + 1e-9))
        distance: Array = np.sqrt((px - t * dx) ** 2 + (py - t * dy) ** 2) - self.r
        return distance


@dataclass(frozen=True, slots=True)
class Polygon:
    """A convex polygon, corners in either turning sense."""

    corners: tuple[tuple[float, float], ...]

    def bounds(self) -> Bounds:
        """Box around the shape, figure units."""
        xs, ys = [c[0] for c in self.corners], [c[1] for c in self.corners]
        return min(xs), min(ys), max(xs), max(ys)

    def distance(self, x: Array, y: Array) -> Array:
        """Signed distance to the nearest edge line, negative inside; same shape as `x`."""
        n = len(self.corners)
        mx = sum(c[0] for c in self.corners) / n
        my = sum(c[1] for c in self.corners) / n
        worst: Array | None = None
        for (ax, ay), (bx, by) in zip(self.corners, self.corners[1:] + self.corners[:1], strict=True):
            nx, ny = by - ay, ax - bx
            length = math.hypot(nx, ny) + 1e-9
            nx, ny = nx / length, ny / length
            if (mx - ax) * nx + (my - ay) * ny > 0:  # the centre is inside: normals point out
                nx, ny = -nx, -ny
            d = x * nx + (y * ny - (ax * nx + ay * ny))
            worst = d if worst is None else np.maximum(worst, d)
        assert worst is not None
        return worst


Shape = Ellipse | Capsule | Polygon


def box(x0: float, y0: float, x1: float, y1: float) -> Polygon:
    """An axis-aligned rectangle."""
    return Polygon(((x0, y0), (x1, y0), (x1, y1), (x0, y1)))


def mirrored(shape: Shape, sign: float) -> Shape:
    """The shape as it is (sign 1), or mirrored at x = 0 (sign -1)."""
    if isinstance(shape, Ellipse):
        return Ellipse(sign * shape.x, shape.y, shape.rx, shape.ry)
    if isinstance(shape, Capsule):
        return Capsule(sign * shape.ax, shape.ay, sign * shape.bx, shape.by, shape.r)
    return Polygon(tuple((sign * x, y) for x, y in shape.corners))


def emblem(kind: str, x: float, y: float, r: float) -> list[Shape]:
    """The shapes that make a logo of the given kind, centred at (x, y), radius r."""
    if kind == "circle":
        return [Ellipse(x, y, r, r)]
    if kind == "triangle":
        return [Polygon(((x, y - 1.1 * r), (x + 1.15 * r, y + r), (x - 1.15 * r, y + r)))]
    if kind == "cross":
        t = 0.36 * r
        return [box(x - r, y - t, x + r, y + t), box(x - t, y - r, x + t, y + r)]
    if kind == "diamond":
        return [Polygon(((x, y - 1.2 * r), (x + r, y), (x, y + 1.2 * r), (x - r, y)))]
    if kind == "square":
        return [box(x - 0.9 * r, y - 0.9 * r, x + 0.9 * r, y + 0.9 * r)]
    return []


@dataclass(frozen=True, slots=True)
class Layer:
    """One painted part of a figure; later layers cover earlier ones."""

    tag: str  # what it shows ("logo", "bag", "hat" …), so that a witness can forget it
    shape: Shape
    paint: Paint
    frame: Bounds | None = None  # box in which the patterns run; the shape's own when None
    channels: slice = field(default_factory=lambda: ALL)  # a print shows in some sensors only


@lru_cache(maxsize=8)
def _pixel_grid(height: int, width: int) -> tuple[Array, Array]:
    """Pixel centres as two (H, W) grids, x then y."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) + np.float32(0.5)
    return x, y


@dataclass
class Frame:
    """Where a figure stands in the picture: figure unit -> pixel, with roll, aspect and wobble."""

    height: int
    width: int
    scale: float  # pixels a figure unit
    x0: float  # pixel column of the figure's origin
    y0: float
    roll: float = 0.0  # radians
    aspect: float = 1.0  # extra stretch of x
    wobble: tuple[float, float, float] = (0.0, 0.0, 0.0)  # amplitude (figure units), phases
    x: Array = field(init=False, repr=False)
    y: Array = field(init=False, repr=False)

    def __post_init__(self) -> None:
        px, py = _pixel_grid(self.height, self.width)
        c, s = math.cos(self.roll) / self.scale, math.sin(self.roll) / self.scale
        dx, dy = px - self.x0, py - self.y0
        self.x = (c * dx + s * dy) / self.aspect
        self.y = c * dy - s * dx
        amplitude, first, second = self.wobble
        if amplitude:
            bent = self.x + amplitude * np.sin(17.0 * self.y + first)
            self.y = self.y + amplitude * np.sin(19.0 * self.x + second)
            self.x = bent

    def window(self, bounds: Bounds) -> tuple[slice, slice] | None:
        """Rows and columns that can touch `bounds`; None when outside the picture."""
        bx0, by0, bx1, by1 = bounds
        c, s = math.cos(self.roll) * self.scale, math.sin(self.roll) * self.scale
        columns, rows = [], []
        for x in (bx0 * self.aspect, bx1 * self.aspect):
            for y in (by0, by1):
                columns.append(self.x0 + c * x - s * y)
                rows.append(self.y0 + s * x + c * y)
        margin = 1.5 + abs(self.wobble[0]) * self.scale
        r0, r1 = max(0, int(min(rows) - margin)), min(self.height, int(max(rows) + margin) + 1)
        c0 = max(0, int(min(columns) - margin))
        c1 = min(self.width, int(max(columns) + margin) + 1)
        return (slice(r0, r1), slice(c0, c1)) if r0 < r1 and c0 < c1 else None


def pattern_weight(name: str, x: Array, y: Array, bounds: Bounds) -> Array | None:
    """Accent weight in [0, 1] on the grid; None for a plain part."""
    draw = PATTERNS.get(name)
    if draw is None:
        return None
    x0, y0, x1, y1 = bounds
    return draw((x - x0) / (x1 - x0), (y - y0) / (y1 - y0))


def _look(layer: Layer, x: Array, y: Array, bounds: Bounds, depth: Array, soft: float) -> Array:
    """The layer's own values on the window, (channels, h, w); `soft` pixels of rounded edge."""
    channels = range(5)[layer.channels]
    base = np.array(layer.paint.base, np.float32)
    value = np.empty((len(channels), *x.shape), np.float32)
    # Round parts fall off towards their edges, in reflected light only; prints lie flat.
    shade = 0.72 + 0.28 * unit(depth / soft) if layer.channels == ALL else np.float32(1.0)
    for group, name in zip((RGB, NIR, HEAT), layer.paint.patterns, strict=True):
        if group.start not in channels:
            continue
        out = value[group.start - channels.start : group.stop - channels.start]
        low = base[group, None, None]
        light = np.float32(1.0) if group == HEAT else shade
        weight = pattern_weight(name, x, y, layer.frame or bounds)
        if weight is None:
            np.multiply(low, light, out=out)
        else:
            high = np.array(layer.paint.accent[group], np.float32)[:, None, None]
            np.multiply(low + weight * (high - low), light, out=out)
    return value


def paint_layers(canvas: Array, mask: Array | None, frame: Frame, layers: list[Layer]) -> None:
    """Paint layers in order on `canvas` (5, H, W) in place and add their cover to `mask` (H, W)."""
    for layer in layers:
        bounds = layer.shape.bounds()
        window = frame.window(bounds)
        if window is None:
            continue
        x, y = frame.x[window], frame.y[window]
        depth = layer.shape.distance(x, y) * -frame.scale  # pixels inside the edge
        cover = unit(depth + 0.5)
        target = canvas[(layer.channels, *window)]
        step = _look(layer, x, y, bounds, depth, 0.05 * frame.scale)
        step -= target
        step *= cover
        target += step
        if mask is not None and layer.channels == ALL:
            np.maximum(mask[window], cover, out=mask[window])
