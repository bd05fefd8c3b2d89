"""Materials: how cloth, leather or metal looks in near infrared and heat, whatever its colour."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reid.data.synthetic.canvas import Five, Paint
from reid.data.synthetic.identity import PALETTE, Surface


@dataclass(frozen=True, slots=True)
class Material:
    """Reflectance and warmth, each as a mean; identities vary about it."""

    nir: float  # reflectance in near infrared
    heat: float  # apparent temperature when worn, 0 ambient .. 1 skin
    nir_contrast: float  # of a printed texture
    heat_contrast: float


CLOTH = {
    "cotton": Material(0.80, 0.66, 0.36, 0.22),
    "wool": Material(0.62, 0.42, 0.30, 0.26),
    "polyester": Material(0.48, 0.60, 0.40, 0.18),
    "denim": Material(0.34, 0.52, 0.26, 0.20),
    "leather": Material(0.14, 0.36, 0.34, 0.30),
    "nylon": Material(0.24, 0.48, 0.42, 0.24),
}
HARD = {
    "enamel": Material(0.62, 0.34, 0.40, 0.20),
    "metallic": Material(0.40, 0.46, 0.32, 0.26),
    "matt": Material(0.18, 0.56, 0.36, 0.24),
    "plastic": Material(0.76, 0.24, 0.34, 0.18),
}


def make_surface(
    rng: np.random.Generator,
    color: str,
    accent: str,
    pattern: str = "plain",
    stock: dict[str, Material] = CLOTH,
    cooler: float = 0.0,
) -> Surface:
    """A surface of a random material in the given colours.

    Ground and accent keep their order in near infrared, where dyes still absorb a little, and change it in
    heat, because what is darker gets warmer; how far apart they are is the material's.

    Args:
        rng: where material, shade and contrast are drawn from.
        color: palette name of the ground.
        accent: palette name of what the texture draws.
        pattern: the texture's name, for captions.
        stock: materials to choose from.
        cooler: how much of its worn warmth the surface lacks, 0 worn on skin .. 1 carried at ambient.
    """
    material = list(stock.values())[int(rng.integers(len(stock)))]
    tint = rng.normal(0.0, 0.03, 3)
    red, green, blue = (float(np.clip(c + t, 0.02, 1.0)) for c, t in zip(PALETTE[color], tint, strict=True))
    nir = float(np.clip(material.nir + rng.normal(0.0, 0.06), 0.04, 0.95))
    heat = float(np.clip(material.heat * (1.0 - 0.6 * cooler) + rng.normal(0.0, 0.05), 0.05, 0.95))
    strength = rng.uniform(0.7, 1.2, 2)
    brighter = 1.0 if sum(PALETTE[accent]) > sum(PALETTE[color]) else -1.0
    base: Five = (red, green, blue, nir, heat)
    other: Five = (
        *PALETTE[accent],
        _beside(nir, brighter * material.nir_contrast * float(strength[0])),
        _beside(heat, -brighter * material.heat_contrast * float(strength[1])),
    )
    return Surface(color, accent, Paint(base, other, (pattern, pattern, pattern)))


def _beside(value: float, step: float) -> float:
    """The accent's value: `step` from the ground's, or the other way where the scale ends before."""
    lowest, highest = 0.02, 1.0
    if not lowest <= value + 0.7 * step <= highest:
        step = -step
    return float(np.clip(value + step, lowest, highest))


def make_print(ground: Surface, color: str) -> Surface:
    """A print on `ground`: stands out in every band, by the ink and not by its colour."""
    _, _, _, nir, heat = ground.paint.base
    five: Five = (*PALETTE[color], 0.88 if nir < 0.5 else 0.1, heat - 0.3 if heat > 0.45 else heat + 0.3)
    return Surface(color, color, Paint(five, five))


def fixed_surface(color: str, red: float, green: float, blue: float, nir: float, heat: float) -> Surface:
    """A surface whose values are given: skin, glass, lamps."""
    five: Five = (red, green, blue, nir, heat)
    return Surface(color, color, Paint(five, five))
