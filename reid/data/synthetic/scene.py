"""Where and when a capture is made: cameras, the conditions drawn for it, background, occluders."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from reid.data.synthetic.canvas import (
    Array,
    Ellipse,
    Five,
    Frame,
    Layer,
    Paint,
    Shape,
    box,
    paint_layers,
)
from reid.data.synthetic.identity import PALETTE, SyntheticConfig
from reid.data.synthetic.person import PERSON_VIEWS
from reid.data.synthetic.vehicle import VEHICLE_VIEWS

_CAMERA = 17  # random stream
_EPOCH = 1_735_689_600  # 2025-01-01T00:00:00Z
_DAY = 86_400
OCCLUDERS = ("pole", "low box", "side panel", "bush")


@dataclass(frozen=True)
class Camera:
    """What stays the same over all captures of one camera."""

    view: int  # index of the usual view
    cast: tuple[float, float, float]  # RGB gains
    exposure: float
    gamma: float
    scale: float
    horizon: float  # share of the picture above the ground
    backdrop: tuple[Five, Five]  # wall, ground
    nir_gain: float
    heat_gain: float
    heat_offset: float


@dataclass(frozen=True)
class Conditions:
    """The nuisances of one capture; all neutral at difficulty 0."""

    viewpoint: str
    viewid: int
    scale: float
    shift: tuple[float, float]  # of the figure, share of the picture
    crop: float  # share of the figure cut off: below when positive, above when negative
    roll: float
    stride: float
    turn: float
    cast: tuple[float, float, float]
    exposure: float
    slant: tuple[float, float]  # brightness gradient over the picture
    gamma: float
    night: float  # 0 day .. 1 darkest
    glare: float
    glare_at: tuple[float, float]
    washout: float  # loss of NIR contrast
    crossover: float  # loss of thermal contrast
    heat_gain: float
    heat_offset: float
    nir_gain: float
    lamp_at: tuple[float, float]  # centre of the NIR lamp's cone, picture in [-1, 1]
    occlusion: str  # what stands before the figure, or "none"
    clutter: int
    nir_shift: tuple[float, float]  # pixels against RGB
    tir_shift: tuple[float, float]
    noise: float
    timestamp: int  # seconds since the epoch, UTC


def views_of(kind: str) -> tuple[str, ...]:
    """The names of the views, indexed by viewid."""
    return PERSON_VIEWS if kind == "person" else VEHICLE_VIEWS


@lru_cache(maxsize=256)
def make_camera(seed: int, camid: int) -> Camera:
    """The camera numbered `camid`, deterministic by (seed, camid)."""
    rng = np.random.default_rng([seed, _CAMERA, camid])
    cast = np.exp(rng.normal(0.0, 0.09, 3))

    def surface() -> Five:
        r, g, b = rng.uniform(0.1, 0.8, 3)
        nir, heat = rng.uniform(0.2, 0.7), rng.uniform(0.0, 0.3)
        return float(r), float(g), float(b), float(nir), float(heat)

    return Camera(
        view=int(rng.integers(4)),
        cast=(float(cast[0]), float(cast[1]), float(cast[2])),
        exposure=float(np.exp(rng.normal(0.0, 0.09))),
        gamma=float(np.exp(rng.normal(0.0, 0.06))),
        scale=float(rng.uniform(0.94, 1.04)),
        horizon=float(rng.uniform(0.5, 0.85)),
        backdrop=(surface(), surface()),
        nir_gain=float(np.exp(rng.normal(0.0, 0.15))),
        heat_gain=float(rng.uniform(0.85, 1.15)),
        heat_offset=float(rng.uniform(-0.08, 0.12)),
    )


def _pair(rng: np.random.Generator, spread: float) -> tuple[float, float]:
    """Two uniform draws from [-spread, spread]."""
    a, b = rng.uniform(-spread, spread, 2)
    return float(a), float(b)


def draw_conditions(
    config: SyntheticConfig, camera: Camera, camid: int, index: int, rng: np.random.Generator
) -> Conditions:
    """Draw the nuisances of one capture."""
    hard = 2.0 * config.difficulty  # 0: no nuisances, 1: the default

    def strikes(probability: float, low: float) -> float:
        """Strength in [low, 1] with the given probability at the default, otherwise 0."""
        hit, strength = rng.random() < probability * hard, rng.uniform(low, 1.0)
        return float(strength) if hit else 0.0

    night = strikes(0.28, 0.6)
    washout = strikes(0.27, 0.7)
    crossover = strikes(0.20, 0.7)
    glare = strikes(0.10, 0.5)
    crop = strikes(0.12, 0.4) * (0.25 if rng.random() < 0.7 else -0.12)
    usual, free = rng.random() < 0.6, int(rng.integers(4))
    viewid = (camera.view if usual else free) if rng.random() < 0.5 * hard else 0
    occluded, occluder = rng.random() < 0.15 * hard, OCCLUDERS[int(rng.integers(len(OCCLUDERS)))]
    cast = np.array(camera.cast) ** min(hard, 1.0) * np.exp(rng.normal(0.0, 0.04 * hard, 3))
    pixels = 0.008 * hard * config.height
    hour = (21.0 + 7.0 * rng.random()) % 24.0 if night else 7.0 + 12.0 * rng.random()
    blend = min(hard, 1.0)
    return Conditions(
        viewpoint=views_of(config.kind)[viewid],
        viewid=viewid,
        scale=1.0 + blend * (camera.scale - 1.0) + float(rng.uniform(-0.05, 0.06)) * hard,
        shift=_pair(rng, 0.03 * hard),
        crop=crop,
        roll=float(rng.normal(0.0, 0.015 * hard)),
        stride=0.02 + float(rng.uniform(-0.02, 0.02)) * hard,
        turn=float(rng.uniform(-1.0, 1.0)) * blend,
        cast=(float(cast[0]), float(cast[1]), float(cast[2])),
        exposure=camera.exposure**blend * float(np.exp(rng.normal(0.0, 0.08 * hard))),
        slant=_pair(rng, 0.16 * hard),
        gamma=camera.gamma**blend,
        night=night,
        glare=glare,
        glare_at=(float(rng.uniform(0.1, 0.9)), float(rng.uniform(0.0, 0.7))),
        washout=washout,
        crossover=crossover,
        heat_gain=1.0 + blend * (camera.heat_gain - 1.0) + float(rng.normal(0.0, 0.10)) * hard,
        heat_offset=blend * camera.heat_offset + float(rng.normal(0.0, 0.08)) * hard,
        nir_gain=camera.nir_gain**blend * float(np.exp(rng.normal(0.0, 0.14 * hard))),
        lamp_at=_pair(rng, 0.25 * blend),
        occlusion=occluder if occluded else "none",
        clutter=int(rng.integers(3, 7) * blend),
        nir_shift=_pair(rng, pixels),
        tir_shift=_pair(rng, pixels),
        noise=0.02 * hard,
        timestamp=_EPOCH + _DAY * (index % 360) + int(3600 * hour) + camid,
    )


def standing_frame(config: SyntheticConfig, conditions: Conditions) -> Frame:
    """The frame that places the figure in the camera pictures."""
    height, width = config.height, config.width
    dx, dy = conditions.shift
    if config.kind == "person":
        scale, middle = min(0.90 * height, 2.0 * width), 0.48
    else:
        scale, middle = min(0.94 * width, 1.2 * height), -0.28
    # A crop too tight: the figure grows and slides until a part of it lies outside.
    scale *= conditions.scale * (1.0 + abs(conditions.crop))
    dy += 0.5 * conditions.crop
    x0, y0 = width * (0.5 + dx), height * (0.5 + dy) - middle * scale
    return Frame(height, width, scale, x0, y0, conditions.roll)


def remembered_frame(config: SyntheticConfig, rng: np.random.Generator) -> Frame:
    """The frame of a sketch: own place, proportions and unsteady hand."""
    height, width = config.height, config.width
    person = config.kind == "person"
    scale = min(0.88 * height, 1.9 * width) if person else min(0.88 * width, 1.1 * height)
    scale *= float(rng.uniform(0.9, 1.05))
    middle = 0.48 if person else -0.28
    return Frame(
        height,
        width,
        scale,
        x0=width * float(rng.uniform(0.46, 0.54)),
        y0=height * float(rng.uniform(0.48, 0.52)) - middle * scale,
        roll=float(rng.normal(0.0, 0.03)),
        aspect=float(rng.uniform(0.88, 1.15)),
        wobble=(0.006, float(rng.uniform(0.0, 6.3)), float(rng.uniform(0.0, 6.3))),
    )


@lru_cache(maxsize=16)
def stretch(size: int, knots: int) -> Array:
    """Linear interpolation from `knots` values to `size` pixels, (size, knots)."""
    at = np.linspace(0.0, knots - 1.0, size)
    weight = np.maximum(0.0, 1.0 - np.abs(at[:, None] - np.arange(knots)[None, :]))
    return weight.astype(np.float32)


def _stuff(rng: np.random.Generator) -> Paint:
    """A random thing's look, unrelated between sensors, in the colours that identities wear."""
    names = list(PALETTE)
    first, second = (PALETTE[names[i]] for i in rng.integers(len(names), size=2))
    nir, heat = rng.uniform(0.2, 0.7, 2), rng.uniform(0.0, 0.35, 2)
    pattern = ("plain", "horizontal stripes", "vertical stripes", "checks")[int(rng.integers(4))]
    return Paint(
        (*first, float(nir[0]), float(heat[0])),
        (*second, float(nir[1]), float(heat[1])),
        (pattern, "plain", "plain"),
    )


def paint_background(
    config: SyntheticConfig, camera: Camera, conditions: Conditions, rng: np.random.Generator
) -> tuple[Array, Frame]:
    """A new canvas (5, H, W) in [0, 1] with wall, ground and clutter, and its picture frame."""
    height, width = config.height, config.width
    picture = Frame(height, width, float(height), 0.0, 0.0)  # unit = picture height
    canvas = np.empty((5, height, width), np.float32)
    if conditions.clutter == 0:
        canvas[:] = np.array([0.55, 0.57, 0.6, 0.45, 0.15], np.float32)[:, None, None]
        return canvas, picture
    row = int(camera.horizon * height)
    wall, ground = (np.array(five, np.float32)[:, None, None] for five in camera.backdrop)
    canvas[:, :row], canvas[:, row:] = wall, ground
    spread = np.array([0.13, 0.13, 0.13, 0.08, 0.06])[:, None, None]
    coarse = rng.normal(0.0, spread, (5, 7, 4)).astype(np.float32)
    canvas += stretch(height, 7) @ coarse @ stretch(width, 4).T
    wide = width / height
    layers = []
    for _ in range(conditions.clutter):
        x, y = float(rng.uniform(0.0, wide)), float(rng.uniform(0.0, 1.0))
        rx, ry = float(rng.uniform(0.05, 0.19)), float(rng.uniform(0.04, 0.19))
        shape: Shape
        if rng.random() < 0.7:
            shape = box(x - rx, y - ry, x + rx, y + ry)
        else:
            shape = Ellipse(x, y, rx, ry)
        layers.append(Layer("clutter", shape, _stuff(rng)))
    paint_layers(canvas, None, picture, layers)
    return np.clip(canvas, 0.0, 1.0, out=canvas), picture


def occluder_layers(config: SyntheticConfig, conditions: Conditions, rng: np.random.Generator) -> list[Layer]:
    """What stands before the figure, in units of the picture height; empty when nothing does."""
    kind, wide = conditions.occlusion, config.width / config.height
    if kind == "none":
        return []
    look = _stuff(rng)
    if kind == "pole":
        x = float(rng.uniform(0.25, 0.75)) * wide
        return [Layer(kind, box(x - 0.035, 0.0, x + 0.035, 1.0), look)]
    if kind == "low box":
        top = float(rng.uniform(0.55, 0.75))
        return [Layer(kind, box(0.0, top, wide, 1.0), look)]
    if kind == "side panel":
        edge = float(rng.uniform(0.2, 0.4)) * wide
        x0 = 0.0 if rng.random() < 0.5 else wide - edge
        return [Layer(kind, box(x0, 0.1, x0 + edge, 1.0), look)]
    blobs = rng.uniform(0.0, 1.0, (5, 2))
    return [Layer(kind, Ellipse(wide * float(x), 0.68 + 0.3 * float(y), 0.09, 0.10), look) for x, y in blobs]
