"""Captions from pixels without a download: the colours and patterns of parts, in the words of a template."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from reid.data.images import Pixels
from reid.data.shards.schema import SampleAttribute
from reid.generate.caption.patterns import PLAIN, pattern_of
from reid.generate.caption.sentences import RegionLook, sentence
from reid.generate.colours import Floats, cluster, name_colour, to_lab
from reid.generate.mask.border_prior import prior_mask
from reid.generate.registry import Generated, GeneratedCaption, MaskArray, Rngs, generator
from reid.modality import Target

Kind = Literal["person", "vehicle", "object"]
Share = Annotated[float, Field(ge=0, le=1)]
SOURCE = "cap_attr"
Bands = dict[str, tuple[float, float]]
_BANDS: dict[str, Bands] = {
    # Fractions of the mask's height. Head and hair are passed over: skin is nobody's clothing.
    "person": {"upper": (0.16, 0.52), "lower": (0.52, 0.88), "shoes": (0.88, 1.0)},
    "vehicle": {"body": (0.35, 0.80)},  # below the windows, above the wheels
    "object": {"whole": (0.0, 1.0)},
}
_SMALL = {"shoes"}  # too few pixels for a pattern
_MIDDLE = 0.6  # of a band is asked for its pattern: arm, body, arm would pass for stripes
_DARK = (15.0, 60.0)  # lightness of a picture's brightest parts: colours cannot, can all be told
_DRAWN = 256  # pixels a band that the clustering sees
_ACCENT = 0.25  # share from which a second colour is worth a word


@dataclass(frozen=True)
class _Part:
    """What was seen of a band; confidences in [0, 1]."""

    colour: str
    colour_sure: float
    accent: str | None
    accent_sure: float
    pattern: str | None
    pattern_sure: float


@generator("cap_attr", Target.TEXT)
def attributes(
    pixels: Pixels,
    rngs: Rngs,
    *,
    mask: MaskArray | None = None,
    kind: Kind = "person",
    min_confidence: Share = 0.08,
    pattern_confidence: Share = 0.3,
) -> list[Generated]:
    """A caption of colours and patterns, with these attributes. (B, H, W, 3) and masks (B, H, W) -> B.

    Each band of the mask's height (upper, lower and feet of a person, the body of a vehicle, the whole of an
    object) is split into three clusters in Lab, each named by the nearest of twelve names. A colour's
    confidence is its share times its margin to the next name. Colours below `min_confidence` and patterns
    below `pattern_confidence` are left out. The caption's confidence is the geometric mean of the attributes
    that it states. Without a mask, or with an empty one, the mask of `mask_prior` is used with lower
    confidences.
    """
    made: list[Generated] = []
    for i, (picture, rng) in enumerate(zip(pixels, rngs, strict=True)):
        lab = to_lab(picture)
        inside, sure = (None, 1.0) if mask is None else (mask[i], 1.0)
        if inside is None or not inside.any():
            inside, score = _guess(lab, kind)
            sure = 0.5 + 0.5 * score
        sure *= _exposure(lab)
        parts = _look(lab, inside, _BANDS[kind], rng, sure)
        made.append(_tell(kind, parts, rng, min_confidence, pattern_confidence))
    return made


def _guess(lab: Floats, kind: Kind) -> tuple[MaskArray, float]:
    if kind != "vehicle":
        return prior_mask(lab)
    mask, score = prior_mask(np.ascontiguousarray(lab.transpose(1, 0, 2)))
    return np.ascontiguousarray(mask.T), score


def _exposure(lab: Floats) -> float:
    """In [0, 1]: how far the light suffices for colours. In the dark all is black, and nothing sure."""
    brightest = float(np.percentile(lab[..., 0], 98))
    return float(np.clip((brightest - _DARK[0]) / (_DARK[1] - _DARK[0]), 0, 1))


def _look(
    lab: Floats, inside: MaskArray, bands: Bands, rng: np.random.Generator, sure: float
) -> dict[str, _Part]:
    """The parts that can be seen, by name."""
    rows = np.flatnonzero(inside.any(axis=1))
    top, height = int(rows[0]), int(rows[-1] - rows[0]) + 1
    core = _core(inside)
    regions: dict[str, tuple[Floats, MaskArray]] = {}
    for name, (start, stop) in bands.items():
        band = slice(top + round(start * height), top + round(stop * height))
        region = core[band] if core[band].any() else inside[band]
        if region.any():
            regions[name] = lab[band], region
    if not regions:
        return {}
    points = np.stack([_draw(*region, rng) for region in regions.values()])  # (bands, N, 3)
    centres, shares = cluster(points, rng)
    colours = _name(centres, shares)
    parts = {}
    for (name, (seen, region)), ((colour, clear), (accent, hint)) in zip(
        regions.items(), colours, strict=True
    ):
        pattern, certainty = None, 0.0
        if name not in _SMALL:
            middle = _middle(region, _MIDDLE)
            pattern, certainty = pattern_of(seen[:, middle], region[:, middle])
        parts[name] = _Part(colour, clear * sure, accent, hint * sure, pattern, certainty * sure)
    return parts


def _middle(region: MaskArray, share: float) -> slice:
    """The middle columns that hold `share` of a region's pixels."""
    before = np.cumsum(region.sum(axis=0))
    edge = before[-1] * (1 - share) / 2
    first, last = np.searchsorted(before, edge, side="right"), np.searchsorted(before, before[-1] - edge)
    return slice(int(first), int(last) + 1)


def _core(inside: MaskArray) -> MaskArray:
    """The mask without its rim, whose pixels are half background."""
    padded = np.pad(inside, 1, mode="edge")
    core: MaskArray = inside & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return core


def _draw(lab: Floats, region: MaskArray, rng: np.random.Generator) -> Floats:
    points: Floats = lab[region]
    return points[rng.integers(len(points), size=_DRAWN)]


def _name(centres: Floats, shares: Floats) -> list[tuple[tuple[str, float], tuple[str | None, float]]]:
    """The main colour and the accent of each band, with confidences; clusters of one name count together."""
    bands, k, _ = centres.shape
    names, margins = name_colour(centres.reshape(-1, 3))
    found: list[tuple[tuple[str, float], tuple[str | None, float]]] = []
    for band in range(bands):
        share: dict[str, float] = {}
        clear: dict[str, float] = {}
        for i in range(k):
            name, part = names[band * k + i], float(shares[band, i])
            share[name] = share.get(name, 0.0) + part
            clear[name] = clear.get(name, 0.0) + part * float(margins[band * k + i])
        first, *others = sorted(share, key=lambda name: -share[name])
        accent = next((name for name in others if share[name] >= _ACCENT), None)
        found.append(((first, clear[first]), (accent, clear[accent] if accent else 0.0)))
    return found


def _tell(
    kind: Kind, parts: dict[str, _Part], rng: np.random.Generator, least: float, least_pattern: float
) -> GeneratedCaption:
    confidences: list[float] = []
    looks: dict[str, RegionLook] = {}
    found: list[SampleAttribute] = []
    for name, part in parts.items():
        prefix = "" if name == "whole" else f"{name}_"
        found.append(SampleAttribute(f"{prefix}color", part.colour, round(part.colour_sure, 4), SOURCE))
        if part.accent:
            found.append(SampleAttribute(f"{prefix}accent", part.accent, round(part.accent_sure, 4), SOURCE))
        if part.pattern:
            found.append(
                SampleAttribute(f"{prefix}pattern", part.pattern, round(part.pattern_sure, 4), SOURCE)
            )
        if part.colour_sure < least:
            continue
        confidences.append(part.colour_sure)
        colours = [part.colour]
        if part.accent and part.accent_sure >= least * _ACCENT:
            colours.append(part.accent)
        pattern = None
        if part.pattern not in (None, PLAIN) and part.pattern_sure >= least_pattern:
            pattern = part.pattern
            confidences.append(part.pattern_sure)
        looks[name] = RegionLook(tuple(colours), pattern)
    confidence = float(np.exp(np.mean(np.log(np.maximum(confidences, 1e-6))))) if confidences else 0.0
    return GeneratedCaption(sentence(kind, looks, rng), round(confidence, 4), tuple(found))
