"""Who is rendered by version 2: traits, proportions, textures and surfaces of one identity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from reid.data.synthetic.identity import (
    EMBLEMS,
    PALETTE,
    Identity,
    Surface,
    SyntheticConfig,
    draw_outfit,
    pick,
)
from reid.data.synthetic.version2.materials import HARD, fixed_surface, make_print, make_surface
from reid.data.synthetic.version2.settings import PICTURES, Version2Config
from reid.data.synthetic.version2.textures import Texture, draw_texture

_CUES, _COLOURS, _SHARED, _OWN = 41, 43, 47, 53  # random streams


@dataclass(frozen=True)
class RenderedFigure(Identity):
    """An identity as one modality knows it; the same in all of them while every cue is shared."""

    textures: Mapping[str, Texture]  # by surface; plain where absent


Cues = tuple[dict[str, str], dict[str, float], dict[str, Texture]]  # traits, proportions, textures


def _person_cues(rng: np.random.Generator) -> Cues:
    logo, bag = ("none", *EMBLEMS), ("none", "backpack", "shoulder bag", "handbag", "suitcase")
    traits = {
        "garment": pick(rng, ("shirt", "jacket", "long coat"), (3, 3, 2)),
        "sleeves": pick(rng, ("long", "short"), (3, 2)),
        "lower": pick(rng, ("trousers", "shorts", "skirt"), (4, 2, 2)),
        "logo": pick(rng, logo, (1, 1, 1, 1, 1, 1)),
        "bag": pick(rng, bag, (1, 2, 2, 2, 2)),
        "bag_side": pick(rng, ("left", "right"), (1, 1)),
        "hat": pick(rng, ("none", "cap", "beanie", "sun hat"), (2, 2, 2, 2)),
        "hair": pick(rng, ("short", "long", "bald", "bun"), (3, 3, 1, 1)),
        "neck": pick(rng, ("none", "hood", "scarf"), (2, 1, 1)),
        "belt": pick(rng, ("none", "belt"), (1, 1)),
        "pockets": pick(rng, ("none", "hips", "knees"), (2, 1, 1)),
        "cuffs": pick(rng, ("none", "bands"), (2, 1)),
        "footwear": pick(rng, ("shoes", "boots"), (2, 1)),
    }
    shape = {
        "girth": float(rng.uniform(0.72, 1.38)),
        "hip": float(rng.uniform(0.44, 0.56)),
        "head": float(rng.uniform(0.84, 1.2)),
        "legs": float(rng.uniform(0.75, 1.4)),
        "apart": float(rng.uniform(0.8, 1.5)),
        "arms": float(rng.uniform(0.0, 0.09)),
        "flare": float(rng.uniform(0.78, 1.2)),
        "logo_y": float(rng.uniform(0.26, 0.40)),
        "logo_size": float(rng.uniform(0.8, 1.5)),
        "bag_size": float(rng.uniform(0.8, 1.35)),
    }
    textures = {"upper": draw_texture(rng, 0.12), "lower": draw_texture(rng, 0.45)}
    textures |= {"bag": draw_texture(rng, 0.6), "hat": draw_texture(rng, 0.7)}
    return traits, shape, textures


def _vehicle_cues(rng: np.random.Generator) -> Cues:
    roof = ("none", "roof rack", "roof box", "light bar", "sign")
    traits = {
        "body": pick(rng, ("sedan", "hatchback", "suv", "van", "pickup", "truck"), (1,) * 6),
        "logo": pick(rng, ("none", *EMBLEMS), (1, 1, 1, 1, 1, 1)),
        "roof_item": pick(rng, roof, (2, 1, 1, 1, 1)),
        "sill": pick(rng, ("none", "running board", "skirt line"), (1, 1, 1)),
        "spare": pick(rng, ("none", "ladder", "spoiler"), (1, 1, 1)),
        "spokes": pick(rng, ("disc", "ring", "cross"), (1, 1, 1)),
    }
    shape = {
        "tall": float(rng.uniform(0.82, 1.25)),
        "wheel": float(rng.uniform(0.075, 0.125)),
        "corner": float(rng.uniform(-0.06, 0.06)),
        "front_axle": float(rng.uniform(0.74, 0.86)),
        "rear_axle": float(rng.uniform(0.14, 0.28)),
        "waist": float(rng.uniform(-0.04, 0.04)),
        "logo_at": float(rng.uniform(0.38, 0.62)),
        "logo_size": float(rng.uniform(0.8, 1.5)),
    }
    textures = {"body": draw_texture(rng, 0.15), "roof": draw_texture(rng, 0.6)}
    return traits, shape, textures


def _person_surfaces(
    config: SyntheticConfig, rng: np.random.Generator, textures: Mapping[str, Texture]
) -> dict[str, Surface]:
    upper, other, lower = draw_outfit(config, rng)
    skin = float(rng.uniform(0.3, 0.95))
    hair = str(rng.choice(["black", "brown", "yellow", "gray"]))
    shoes = str(rng.choice([upper, other, "black", "white"]))
    bag, hat = str(rng.choice([other, lower, "black"])), str(rng.choice([upper, other, lower]))
    top = make_surface(rng, upper, other, textures["upper"].pattern)
    return {
        "upper": top,
        "sleeve": make_surface(rng, upper, other),
        "lower": make_surface(rng, lower, other, textures["lower"].pattern),
        "shoes": make_surface(rng, shoes, shoes, cooler=0.6),
        "bag": make_surface(rng, bag, other if bag != other else lower, textures["bag"].pattern, cooler=1.0),
        "hat": make_surface(rng, hat, upper if hat != upper else other, textures["hat"].pattern, cooler=0.3),
        "hair": make_surface(rng, hair, hair, cooler=0.2),
        "trim": make_surface(rng, other, lower, cooler=0.4),
        "skin": fixed_surface("beige", 0.85 * skin, 0.65 * skin, 0.52 * skin, 0.62, 0.92),
        "logo": make_print(top, lower if lower != upper else list(PALETTE)[int(rng.integers(12))]),
    }


def _vehicle_surfaces(
    config: SyntheticConfig, rng: np.random.Generator, textures: Mapping[str, Texture]
) -> dict[str, Surface]:
    body, other, third = draw_outfit(config, rng)
    roof = str(rng.choice([body, other, third]))
    rim, rack = str(rng.choice(["gray", "white", other])), str(rng.choice([other, third, "black"]))
    glass = float(rng.choice([0.08, 0.3, 0.5]))
    nir, heat = float(rng.uniform(0.1, 0.7)), float(rng.uniform(0.05, 0.3))
    panel = make_surface(rng, body, other, textures["body"].pattern, HARD)
    return {
        "body": panel,
        "roof": make_surface(rng, roof, other if roof != other else third, textures["roof"].pattern, HARD),
        "window": fixed_surface("gray", glass, glass, 1.1 * glass, nir, heat),
        "wheel": make_surface(rng, "black", "gray", stock=HARD),
        "rim": make_surface(rng, rim, rim, stock=HARD),
        "rack": make_surface(rng, rack, rack, stock=HARD, cooler=0.5),
        "engine": fixed_surface(body, *panel.paint.base[:4], float(rng.uniform(0.6, 1.0))),
        "logo": make_print(panel, third),
        "lamp": fixed_surface("white", 0.95, 0.93, 0.8, 0.8, 0.5),
        "tail": fixed_surface("red", 0.8, 0.05, 0.05, 0.5, 0.4),
        "plate": fixed_surface("white", 0.85, 0.85, 0.8, 0.7, 0.3),
    }


@lru_cache(maxsize=256)
def _figure(config: SyntheticConfig, pid: int) -> RenderedFigure:
    """The identity as RGB and the captions know it."""
    person = config.kind == "person"
    cues = np.random.default_rng([config.seed, _CUES, pid])
    traits, shape, textures = (_person_cues if person else _vehicle_cues)(cues)
    colours = np.random.default_rng([config.seed, _COLOURS, pid])
    surfaces = (_person_surfaces if person else _vehicle_surfaces)(config, colours, textures)
    return RenderedFigure(pid, config.kind, traits, surfaces, shape, textures)


def make_figure(config: Version2Config, pid: int, modality: str = "rgb") -> RenderedFigure:
    """The identity numbered `pid` as `modality` shows it: a function of (seed, kind, pid, modality).

    Modalities that share every cue get the very same object.
    Raises ValueError for a pid below `id_offset`.

    >>> config = Version2Config(shared_cues={"nir": 0.0})
    >>> make_figure(config, 3, "tir") is make_figure(config, 3), make_figure(config, 3, "nir").pid
    (True, 3)
    """
    if pid < config.id_offset:
        raise ValueError(f"pid {pid} lies below id_offset {config.id_offset}: it is of another set")
    # The cache must not tell apart what only the shares tell apart.
    true = _figure(SyntheticConfig(seed=config.seed, kind=config.kind), pid)
    share = config.share(modality)
    if share >= 1.0:
        return true
    number = PICTURES.index(modality)
    own = np.random.default_rng([config.seed, _OWN, pid, number])
    traits, shape, textures = (_person_cues if config.kind == "person" else _vehicle_cues)(own)
    keep = np.random.default_rng([config.seed, _SHARED, pid, number])
    return replace(
        true,
        traits={k: v if keep.random() < share else traits[k] for k, v in true.traits.items()},
        shape={k: v if keep.random() < share else shape[k] for k, v in true.shape.items()},
        textures={k: v if keep.random() < share else textures[k] for k, v in true.textures.items()},
    )
