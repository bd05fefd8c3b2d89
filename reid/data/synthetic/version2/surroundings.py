"""What stands about a figure of version 2: wall, ground, clutter and what hides it, as labelled parts."""

from __future__ import annotations

import numpy as np

from reid.data.synthetic.canvas import Array, Ellipse, Five, Paint, Shape, box
from reid.data.synthetic.identity import PALETTE, Surface, SyntheticConfig
from reid.data.synthetic.scene import Camera, Conditions, stretch
from reid.data.synthetic.version2.parts import Buffers, ScenePart
from reid.data.synthetic.version2.textures import Texture

_WALL, _GROUND, _BEFORE = -1.2, -0.6, 0.5  # metres from the figure's plane
_NEUTRAL = (0.55, 0.57, 0.6, 0.45, 0.15)


def _thing(rng: np.random.Generator) -> tuple[Surface, Texture]:
    """A random thing's look, unrelated between sensors, in the colours that identities wear."""
    names = list(PALETTE)
    first, second = (names[i] for i in rng.integers(len(names), size=2))
    nir, heat = rng.uniform(0.1, 0.9, 2), rng.uniform(0.0, 0.4, 2)
    pattern = ("plain", "horizontal stripes", "vertical stripes", "checks")[int(rng.integers(4))]
    paint = Paint(
        (*PALETTE[first], float(nir[0]), float(heat[0])), (*PALETTE[second], float(nir[1]), float(heat[1]))
    )
    return Surface(first, second, paint), Texture(pattern, float(rng.uniform(0.6, 1.4)), float(rng.random()))


def _backdrop(tag: str, values: Five, near: float) -> ScenePart:
    """A plain part that fills the picture; its shape is never drawn."""
    return ScenePart(
        tag, box(0.0, 0.0, 1.0, 1.0), Surface("gray", "gray", Paint(values, values)), near, bulge=0.0
    )


def lay_backdrop(buffers: Buffers, camera: Camera, conditions: Conditions) -> list[ScenePart]:
    """Fill the buffers with wall and ground (at difficulty 0 a neutral wall) and return their parts."""
    buffers.label[:] = 1
    if conditions.clutter == 0:
        return [_backdrop("wall", _NEUTRAL, _WALL)]
    buffers.label[int(camera.horizon * buffers.label.shape[0]) :] = 2
    wall, ground = camera.backdrop
    return [_backdrop("wall", wall, _WALL), _backdrop("ground", ground, _GROUND)]


def clutter_parts(
    config: SyntheticConfig, conditions: Conditions, rng: np.random.Generator
) -> list[ScenePart]:
    """Things behind the figure, in units of the picture height."""
    wide = config.width / config.height
    parts = []
    for _ in range(conditions.clutter):
        x, y = float(rng.uniform(0.0, wide)), float(rng.uniform(0.0, 1.0))
        rx, ry = float(rng.uniform(0.05, 0.19)), float(rng.uniform(0.04, 0.19))
        shape: Shape = Ellipse(x, y, rx, ry)
        if rng.random() < 0.7:
            shape = box(x - rx, y - ry, x + rx, y + ry)
        surface, texture = _thing(rng)
        parts.append(ScenePart("clutter", shape, surface, float(rng.uniform(-1.0, -0.4)), None, texture))
    return parts


def mottle(config: SyntheticConfig, rng: np.random.Generator) -> Array:
    """Uneven light on wall and ground: (5, H, W) to be added there."""
    spread = np.array([0.13, 0.13, 0.13, 0.08, 0.06])[:, None, None]
    coarse = rng.normal(0.0, spread, (5, 7, 4)).astype(np.float32)
    field: Array = stretch(config.height, 7) @ coarse @ stretch(config.width, 4).T
    return field


def occluder_parts(
    config: SyntheticConfig, conditions: Conditions, rng: np.random.Generator
) -> list[ScenePart]:
    """What stands before the figure, in units of the picture height; empty when nothing does."""
    kind, wide = conditions.occlusion, config.width / config.height
    if kind == "none":
        return []
    surface, texture = _thing(rng)

    def part(shape: Shape) -> ScenePart:
        return ScenePart(kind, shape, surface, _BEFORE, None, texture)

    if kind == "pole":
        x = float(rng.uniform(0.25, 0.75)) * wide
        return [part(box(x - 0.035, -0.1, x + 0.035, 1.1))]
    if kind == "low box":
        return [part(box(-0.1, float(rng.uniform(0.55, 0.75)), wide + 0.1, 1.1))]
    if kind == "side panel":
        edge = float(rng.uniform(0.2, 0.4)) * wide
        x0 = -0.1 if rng.random() < 0.5 else wide - edge
        return [part(box(x0, 0.1, x0 + edge + 0.1, 1.1))]
    blobs = rng.uniform(0.0, 1.0, (5, 2))
    return [part(Ellipse(wide * float(x), 0.68 + 0.3 * float(y), 0.09, 0.10)) for x, y in blobs]
