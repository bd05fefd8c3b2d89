"""Rendered identities with known truth in five modalities: RGB, NIR, TIR, sketch and text.

    config = SyntheticConfig(seed=0, height=64, width=32)
    identity = make_identity(config, pid=3)
    capture = render_capture(config, identity, camid=1, index=0)

Everything is a function of (seed, pid, camid, index): any capture can be rendered alone, in any
order, in any process.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reid.data.synthetic.canvas import paint_layers
from reid.data.synthetic.identity import (
    PALETTE,
    Identity,
    Surface,
    SyntheticConfig,
    identity_pids,
    make_identity,
)
from reid.data.synthetic.person import person_layers
from reid.data.synthetic.scene import (
    draw_conditions,
    make_camera,
    occluder_layers,
    paint_background,
    remembered_frame,
    standing_frame,
    views_of,
)
from reid.data.synthetic.sensors import see_nir, see_rgb, see_tir
from reid.data.synthetic.vehicle import vehicle_layers
from reid.data.synthetic.witness import Attribute, attributes_of, captions_of, draw_sketch

__all__ = [
    "PALETTE",
    "Attribute",
    "Capture",
    "Identity",
    "Surface",
    "SyntheticConfig",
    "identity_pids",
    "make_identity",
    "render_capture",
    "views_of",
]

_CAPTURE, _WITNESS = 19, 23  # random streams


@dataclass(frozen=True)
class Capture:
    """One moment seen by three aligned cameras and told by a witness."""

    rgb: NDArray[np.uint8]  # (H, W, 3)
    nir: NDArray[np.uint8]  # (H, W)
    tir: NDArray[np.uint8]  # (H, W)
    sketch: NDArray[np.uint8]  # (H, W), dark lines on white, not aligned to the cameras
    mask: NDArray[np.bool_]  # (H, W), the visible figure in the RGB frame
    captions: tuple[str, ...]
    attributes: tuple[Attribute, ...]  # (name, value, confidence)
    conditions: dict[str, Any]  # the nuisances drawn, see `scene.Conditions`
    camid: int
    viewid: int  # index into views_of(kind)
    timestamp: int  # seconds since the epoch, UTC

    @property
    def pictures(self) -> dict[str, NDArray[np.uint8]]:
        """The pictures by modality."""
        return {"rgb": self.rgb, "nir": self.nir, "tir": self.tir, "sketch": self.sketch}


def render_capture(config: SyntheticConfig, identity: Identity, camid: int, index: int) -> Capture:
    """Render capture number `index` of the identity by camera `camid`.

    Deterministic by (seed, pid, camid, index).
    """
    if not 0 <= camid < config.num_cameras:
        raise ValueError(f"camid must lie in [0, {config.num_cameras}), not {camid}")
    if identity.kind != config.kind:
        raise ValueError(f"a {identity.kind} cannot be rendered by a {config.kind} configuration")
    layers_of = person_layers if config.kind == "person" else vehicle_layers
    rng = np.random.default_rng([config.seed, _CAPTURE, identity.pid, camid, index])
    camera = make_camera(config.seed, camid)
    conditions = draw_conditions(config, camera, camid, index, rng)

    canvas, picture = paint_background(config, camera, conditions, rng)
    cover = np.zeros(canvas.shape[1:], np.float32)
    figure = layers_of(identity, conditions.viewpoint, conditions.stride, conditions.turn)
    paint_layers(canvas, cover, standing_frame(config, conditions), figure)
    before = np.zeros_like(cover)
    paint_layers(canvas, before, picture, occluder_layers(config, conditions, rng))

    # The witness remembers the person, not the photo: own random stream, own pose.
    memory = np.random.default_rng([config.seed, _WITNESS, identity.pid, camid, index])
    views = views_of(config.kind)
    recalled = views[0] if config.kind == "person" else views[int(memory.integers(2))]
    pose = layers_of(identity, recalled, float(memory.uniform(0.0, 0.04)), 0.0)
    forget = 0.1 + 0.2 * config.difficulty
    sketch = draw_sketch(remembered_frame(config, memory), pose, forget, memory)
    return Capture(
        rgb=see_rgb(canvas, conditions, rng),
        nir=see_nir(canvas, conditions, rng),
        tir=see_tir(canvas, conditions, rng),
        sketch=sketch,
        mask=cover * (1.0 - before) > 0.5,
        captions=captions_of(config, identity, conditions.viewpoint, memory),
        attributes=attributes_of(identity, conditions.viewpoint),
        conditions={**vars(conditions), "camera": camid},
        camid=camid,
        viewid=conditions.viewid,
        timestamp=conditions.timestamp,
    )
