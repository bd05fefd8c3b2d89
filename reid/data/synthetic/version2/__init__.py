"""Rendered identities, version 2: six pictures and captions that show one geometry, each with its own tone.

    config = Version2Config(seed=0, height=64, width=32)
    capture = render(config, pid=3, camid=1, index=0)

What identifies has an edge or a texture: silhouette, garments, prints, bag, hat. Every modality shows these
edges, while colour, near-infrared reflectance (by material), warmth (by layers) and distance are unrelated.
Everything is a function of (seed, pid, camid, index): any capture can be rendered alone, in any order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reid.data.synthetic.canvas import Array, Frame
from reid.data.synthetic.scene import (
    draw_conditions,
    make_camera,
    remembered_frame,
    standing_frame,
)
from reid.data.synthetic.sensors import see_nir, see_rgb, see_tir
from reid.data.synthetic.version2.cameras import draw_contrast, ease, paint_bands, see_depth
from reid.data.synthetic.version2.drawings import (
    Drawing,
    draw_colour_pencil,
    draw_pencil,
    remembered,
)
from reid.data.synthetic.version2.figure import RenderedFigure, make_figure
from reid.data.synthetic.version2.parts import Buffers, ScenePart, rasterise
from reid.data.synthetic.version2.person import person_parts
from reid.data.synthetic.version2.settings import PICTURES, SHARING, Version2Config
from reid.data.synthetic.version2.surroundings import clutter_parts, lay_backdrop, mottle, occluder_parts
from reid.data.synthetic.version2.vehicle import vehicle_parts
from reid.data.synthetic.witness import Attribute, attributes_of, captions_of

__all__ = [
    "PICTURES",
    "SHARING",
    "Picture",
    "RenderedFigure",
    "Version2Capture",
    "Version2Config",
    "make_figure",
    "render",
]

_CAPTURE, _SCENE, _WITNESS, _TOLD, _SENSOR, _TONE = 59, 61, 67, 71, 73, 79  # random streams
_SENSORS = {"rgb": see_rgb, "nir": see_nir, "tir": see_tir}
Picture = NDArray[np.uint8] | NDArray[np.uint16]


@dataclass(frozen=True)
class Version2Capture:
    """One moment seen by aligned cameras, and drawn and told by a witness."""

    pictures: Mapping[str, Picture]
    """By modality: rgb and cp (H, W, 3), nir, tir and sketch (H, W) uint8; depth (H, W) uint16, mm."""
    mask: NDArray[np.bool_]  # (H, W), the visible figure in the RGB frame
    captions: tuple[str, ...]
    attributes: tuple[Attribute, ...]
    conditions: dict[str, Any]  # the nuisances drawn, see `scene.Conditions`
    camid: int
    viewid: int
    timestamp: int  # seconds since the epoch, UTC


class _Shot:
    """Everything that the pictures of one capture have in common; drawn once, painted when asked for."""

    def __init__(self, config: Version2Config, pid: int, camid: int, index: int) -> None:
        self.config, self.key = config, (pid, camid, index)
        self.true = make_figure(config, pid)
        self.camera = make_camera(config.seed, camid)
        tone = self.stream(_TONE)
        drawn = draw_conditions(config, self.camera, camid, index, self.stream(_CAPTURE))
        self.conditions = ease(drawn, tone)
        self.contrast = draw_contrast(config.difficulty, tone)
        self.ground = mottle(config, tone) * np.float32(self.conditions.clutter > 0)
        self.away = float(tone.uniform(2.7, 3.3))  # metres to the figure
        self.parts_of = person_parts if config.kind == "person" else vehicle_parts
        self._geometry: dict[int, _Geometry] = {}
        self._bands: dict[int, Array] = {}
        self._drawings: dict[int, Drawing] = {}

    def stream(self, number: int, *more: int) -> np.random.Generator:
        """A random stream of this capture."""
        return np.random.default_rng([self.config.seed, number, *self.key, *more])

    def geometry(self, figure: RenderedFigure) -> _Geometry:
        """The cameras' view of the figure; its surroundings do not depend on it."""
        found = self._geometry.get(id(figure))
        if found is None:
            rng, config, drawn = self.stream(_SCENE), self.config, self.conditions
            buffers = Buffers(config.height, config.width)
            backdrop = lay_backdrop(buffers, self.camera, drawn)
            clutter = clutter_parts(config, drawn, rng)
            before = occluder_parts(config, drawn, rng)
            body = self.parts_of(figure, drawn.viewpoint, drawn.stride, drawn.turn)
            picture = Frame(config.height, config.width, float(config.height), 0.0, 0.0)
            first = len(backdrop) + len(clutter) + 1
            rasterise(buffers, picture, clutter, len(backdrop) + 1)
            rasterise(buffers, standing_frame(config, drawn), body, first)
            rasterise(buffers, picture, before, first + len(body))
            found = _Geometry(buffers, [*backdrop, *clutter, *body, *before], range(first, first + len(body)))
            self._geometry[id(figure)] = found
        return found

    def drawing(self, figure: RenderedFigure) -> Drawing:
        """The witness's view of the figure: own frame and pose, some parts forgotten."""
        found = self._drawings.get(id(figure))
        if found is None:
            rng, forget = self.stream(_WITNESS), 0.1 + 0.2 * self.config.difficulty
            frame = remembered_frame(self.config, rng)
            pose = self.parts_of(figure, self.conditions.viewpoint, float(rng.uniform(0.0, 0.04)), 0.0)
            parts = remembered(pose, forget, rng)
            found = self._drawings[id(figure)] = Drawing(frame, parts)
        return found

    def picture(self, name: str) -> Picture:
        """The picture of one modality."""
        figure = make_figure(self.config, self.key[0], name)
        rng = self.stream(_SENSOR, PICTURES.index(name))
        if name in ("sketch", "cp"):
            draw = draw_pencil if name == "sketch" else draw_colour_pencil
            return draw(self.drawing(figure), 0.2 * self.config.difficulty, rng)
        view = self.geometry(figure)
        if name == "depth":
            return see_depth(view.buffers, view.parts, self.away, self.conditions, rng)
        bands = self._bands.get(id(figure))
        if bands is None:
            bands = paint_bands(view.buffers, view.parts, self.ground, self.contrast)
            self._bands[id(figure)] = bands
        return _SENSORS[name](bands, self.conditions, rng)


@dataclass(frozen=True)
class _Geometry:
    """What the cameras see of one figure: buffers, the parts behind their labels, the figure's labels."""

    buffers: Buffers
    parts: list[ScenePart]
    figure: range

    @property
    def mask(self) -> NDArray[np.bool_]:
        """(H, W), where the figure is visible."""
        label = self.buffers.front
        return (label >= self.figure.start) & (label < self.figure.stop)


def render(
    config: Version2Config, pid: int, camid: int, index: int, modalities: Iterable[str] = PICTURES
) -> Version2Capture:
    """Render capture number `index` of identity `pid` by camera `camid`.

    A picture does not depend on which others are asked for.

    Args:
        config: the data set.
        pid: number of the identity, from `id_offset` on.
        camid: number of the camera.
        index: number of the capture.
        modalities: names of the pictures to render, of PICTURES.

    Raises ValueError for an unknown camera, identity or picture.

    >>> capture = render(Version2Config(height=64, width=32), 3, 1, 0, ("nir", "depth"))
    >>> {name: (picture.shape, str(picture.dtype)) for name, picture in capture.pictures.items()}
    {'nir': ((64, 32), 'uint8'), 'depth': ((64, 32), 'uint16')}
    """
    if not 0 <= camid < config.num_cameras:
        raise ValueError(f"camid must lie in [0, {config.num_cameras}), not {camid}")
    wanted = tuple(modalities)
    if unknown := [name for name in wanted if name not in PICTURES]:
        raise ValueError(f"no picture is called {unknown[0]!r}; known: {', '.join(PICTURES)}")
    shot = _Shot(config, pid, camid, index)
    conditions, true = shot.conditions, shot.true
    return Version2Capture(
        pictures={name: shot.picture(name) for name in wanted},
        mask=shot.geometry(true).mask,
        captions=captions_of(config, true, conditions.viewpoint, shot.stream(_TOLD)),
        attributes=attributes_of(true, conditions.viewpoint),
        conditions={**vars(conditions), "camera": camid},
        camid=camid,
        viewid=conditions.viewid,
        timestamp=conditions.timestamp,
    )
