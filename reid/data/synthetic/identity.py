"""Who is rendered: configuration, palette, and the true attributes of one identity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from reid.data.synthetic.canvas import Five, Paint

Kind = Literal["person", "vehicle"]

PALETTE: dict[str, tuple[float, float, float]] = {
    "black": (0.05, 0.05, 0.06),
    "white": (0.92, 0.92, 0.92),
    "gray": (0.45, 0.46, 0.47),
    "red": (0.75, 0.07, 0.08),
    "orange": (0.95, 0.45, 0.06),
    "yellow": (0.93, 0.82, 0.12),
    "green": (0.10, 0.48, 0.16),
    "blue": (0.10, 0.22, 0.68),
    "purple": (0.42, 0.12, 0.52),
    "pink": (0.94, 0.50, 0.66),
    "brown": (0.36, 0.20, 0.09),
    "beige": (0.80, 0.71, 0.53),
}
VISIBLE_PATTERNS = (
    "horizontal stripes",
    "vertical stripes",
    "checks",
    "dots",
    "two halves",
    "diagonal sash",
    "broad band",
)
HIDDEN_PATTERNS = (
    "horizontal stripes",
    "vertical stripes",
    "two halves",
    "diagonal sash",
    "broad band",
    "top",
    "bottom",
    "core",
    "rim",
    "quarters",
)
EMBLEMS = ("circle", "triangle", "cross", "diamond", "square")
FAMILIES = 12  # identities share few colour sets, so that colour alone does not name them
_IDENTITY, _FAMILY = 11, 13  # random streams


@dataclass(frozen=True)
class SyntheticConfig:
    """One synthetic data set; two configurations with disjoint pids share no identity."""

    seed: int = 0
    kind: Kind = "person"
    height: int = 128  # pixels
    width: int = 64
    difficulty: float = 0.5  # 0 = no nuisances, 1 = very hard
    num_cameras: int = 4
    id_offset: int = 0  # identities are numbered id_offset + i

    def __post_init__(self) -> None:
        if self.seed < 0 or self.id_offset < 0:
            raise ValueError("seed and id_offset must not be negative")
        if self.kind not in ("person", "vehicle"):
            raise ValueError(f"kind must be 'person' or 'vehicle', not {self.kind!r}")
        if not 0.0 <= self.difficulty <= 1.0:
            raise ValueError(f"difficulty must lie in [0, 1], not {self.difficulty}")
        if min(self.height, self.width) < 16:
            raise ValueError("pictures must be at least 16 pixels high and wide")
        if self.num_cameras < 1:
            raise ValueError("num_cameras must be at least 1")


@dataclass(frozen=True)
class Surface:
    """One part's true look: palette names for people, paint for the sensors."""

    color: str
    accent: str
    paint: Paint

    @property
    def pattern(self) -> str:
        """The pattern visible in RGB."""
        return self.paint.patterns[0]


@dataclass(frozen=True)
class Identity:
    """The truth about one person or vehicle, all of it constant over captures."""

    pid: int
    kind: Kind
    traits: Mapping[str, str]  # named attributes: garment, bag, hat, logo, body type …
    surfaces: Mapping[str, Surface]  # part -> colours, NIR reflectance, heat
    shape: Mapping[str, float]  # proportions


def pick(rng: np.random.Generator, options: Sequence[str], weights: Sequence[float]) -> str:
    """Draw one option by weight."""
    total = float(sum(weights))
    return options[int(rng.choice(len(options), p=[w / total for w in weights]))]


def _plain_or(rng: np.random.Generator, patterns: Sequence[str], plain: float) -> str:
    """Draw `plain` with the given probability, otherwise one of the patterns."""
    if rng.random() < plain:
        return "plain"
    return patterns[int(rng.integers(len(patterns)))]


def draw_outfit(config: SyntheticConfig, rng: np.random.Generator) -> list[str]:
    """Three palette names: a colour set that many identities share, in this one's own order."""
    family = int(rng.integers(FAMILIES))
    shared = np.random.default_rng([config.seed, _FAMILY, family])
    names: list[str] = []
    for name in (list(PALETTE)[i] for i in shared.permutation(len(PALETTE))):
        # Neighbouring shades would make a pattern invisible to everybody.
        if all(np.abs(np.subtract(PALETTE[name], PALETTE[n])).sum() > 0.7 for n in names):
            names.append(name)
    return [names[i] for i in rng.permutation(3)]


def _surface(
    rng: np.random.Generator,
    color: str,
    accent: str | None = None,
    pattern: str = "plain",
    hidden: float = 0.0,
    heat: tuple[float, float] = (0.45, 0.6),
) -> Surface:
    """A surface with the given colours; NIR reflectance and heat are drawn apart from them.

    `hidden` is the probability of a pattern that only NIR shows, and of one only TIR shows.
    """
    accent = accent or color
    tint = rng.normal(0.0, 0.03, 3)
    base_rgb = [float(np.clip(c + t, 0.02, 1.0)) for c, t in zip(PALETTE[color], tint, strict=True)]
    nir = float(rng.choice([0.10, 0.34, 0.58, 0.82]) + rng.uniform(-0.04, 0.04))
    nir_accent = nir + (0.5 if nir < 0.45 else -0.5)
    warm = float(rng.uniform(*heat))
    warm_accent = warm + float(rng.choice([-0.34, 0.34]))
    base: Five = (base_rgb[0], base_rgb[1], base_rgb[2], nir, warm)
    other: Five = (*PALETTE[accent], nir_accent, warm_accent)
    patterns = (
        pattern,
        _plain_or(rng, HIDDEN_PATTERNS, 1.0 - hidden),
        _plain_or(rng, HIDDEN_PATTERNS, 1.0 - hidden),
    )
    return Surface(color, accent, Paint(base, other, patterns))


def _mark(upper: Surface, color: str) -> Surface:
    """An emblem: its colour in RGB, and the opposite of its ground in NIR and heat."""
    _, _, _, nir, heat = upper.paint.base
    five: Five = (*PALETTE[color], 0.9 if nir < 0.5 else 0.08, 1.0 if heat < 0.55 else 0.1)
    return Surface(color, color, Paint(five, five))


def _person(config: SyntheticConfig, pid: int, rng: np.random.Generator) -> Identity:
    upper, other, lower = draw_outfit(config, rng)
    names = list(PALETTE)
    pattern = _plain_or(rng, VISIBLE_PATTERNS, 0.25)
    top = _surface(rng, upper, other, pattern, 0.8, (0.40, 0.62))
    skin = float(rng.uniform(0.3, 0.95))
    skin_five: Five = (0.85 * skin, 0.65 * skin, 0.52 * skin, 0.62, 0.92)
    leg_pattern = _plain_or(rng, VISIBLE_PATTERNS, 0.7)
    hair = str(rng.choice(["black", "brown", "yellow", "gray"]))
    surfaces = {
        "upper": top,
        "sleeve": _surface(rng, upper, heat=(0.3, 0.85)),
        "lower": _surface(rng, lower, other, leg_pattern, 0.6, (0.4, 0.7)),
        "shoes": _surface(rng, str(rng.choice([upper, other, "black", "white"])), heat=(0.1, 0.8)),
        "bag": _surface(rng, str(rng.choice([other, lower, "black"])), heat=(0.1, 0.75)),
        "hat": _surface(rng, str(rng.choice([upper, other, lower])), heat=(0.25, 0.7)),
        "hair": _surface(rng, hair, heat=(0.5, 0.7)),
        "skin": Surface("beige", "beige", Paint(skin_five, skin_five)),
    }
    surfaces["logo"] = _mark(top, lower if lower != upper else names[int(rng.integers(12))])
    traits = {
        "garment": pick(rng, ("shirt", "jacket", "long coat"), (3, 3, 2)),
        "sleeves": pick(rng, ("long", "short"), (3, 2)),
        "lower": pick(rng, ("trousers", "shorts", "skirt"), (4, 2, 2)),
        "logo": pick(rng, ("none", *EMBLEMS), (2, 1, 1, 1, 1, 1)),
        "bag": pick(rng, ("none", "backpack", "shoulder bag", "handbag", "suitcase"), (2, 2, 2, 2, 1)),
        "bag_side": pick(rng, ("left", "right"), (1, 1)),
        "hat": pick(rng, ("none", "cap", "beanie", "sun hat"), (3, 2, 2, 2)),
        "hair": pick(rng, ("short", "long", "bald", "bun"), (3, 3, 1, 1)),
        "nir_mark": pick(rng, ("none", *EMBLEMS), (3, 1, 1, 1, 1, 1)),
        "heat_object": pick(rng, ("none", "hip left", "hip right", "chest", "thigh"), (1,) * 5),
    }
    shape = {
        "girth": float(rng.uniform(0.82, 1.28)),
        "hip": float(rng.uniform(0.47, 0.54)),
        "head": float(rng.uniform(0.9, 1.12)),
    }
    return Identity(pid, "person", traits, surfaces, shape)


def _vehicle(config: SyntheticConfig, pid: int, rng: np.random.Generator) -> Identity:
    body, other, third = draw_outfit(config, rng)
    pattern = _plain_or(rng, VISIBLE_PATTERNS, 0.4)
    panel = _surface(rng, body, other, pattern, 0.8, (0.30, 0.55))
    glass = float(rng.choice([0.08, 0.3, 0.55]))
    cold_glass, hot_glass = (glass, glass, 1.1 * glass), (0.3, 0.35, 0.4)
    glass_nir, glass_heat = float(rng.uniform(0.1, 0.8)), float(rng.uniform(0.1, 0.4))
    surfaces = {
        "body": panel,
        "roof": _surface(rng, str(rng.choice([body, other, third])), heat=(0.2, 0.7)),
        "window": Surface(
            "gray",
            "gray",
            Paint(
                (*cold_glass, glass_nir, glass_heat),
                (*hot_glass, glass_nir, glass_heat + 0.35),
                ("plain", "plain", _plain_or(rng, HIDDEN_PATTERNS, 0.3)),
            ),
        ),
        "wheel": _surface(rng, "black", heat=(0.2, 0.95)),
        "rim": _surface(rng, str(rng.choice(["gray", "white", other])), heat=(0.2, 0.95)),
        "rack": _surface(rng, str(rng.choice([other, third, "black"])), heat=(0.1, 0.6)),
        "engine": _surface(rng, body, heat=(0.15, 1.0)),
        "logo": _mark(panel, third),
    }
    traits = {
        "body": pick(rng, ("sedan", "hatchback", "suv", "van", "pickup", "truck"), (1,) * 6),
        "logo": pick(rng, ("none", *EMBLEMS), (2, 1, 1, 1, 1, 1)),
        "roof_item": pick(rng, ("none", "roof rack", "roof box", "light bar", "sign"), (3, 1, 1, 1, 1)),
        "nir_mark": pick(rng, ("none", *EMBLEMS), (2, 1, 1, 1, 1, 1)),
        "heat_object": pick(rng, ("none", "bonnet", "rear", "door", "exhaust"), (1,) * 5),
    }
    shape = {
        "tall": float(rng.uniform(0.9, 1.15)),
        "wheel": float(rng.uniform(0.085, 0.115)),
    }
    return Identity(pid, "vehicle", traits, surfaces, shape)


def make_identity(config: SyntheticConfig, pid: int) -> Identity:
    """The identity numbered `pid`: a function of (seed, kind, pid) and of no other identity."""
    if pid < config.id_offset:
        raise ValueError(f"pid {pid} lies below id_offset {config.id_offset}: it is of another set")
    rng = np.random.default_rng([config.seed, _IDENTITY, pid])
    return (_person if config.kind == "person" else _vehicle)(config, pid, rng)


def identity_pids(config: SyntheticConfig, count: int) -> range:
    """The pids of the first `count` identities of the set."""
    return range(config.id_offset, config.id_offset + count)
