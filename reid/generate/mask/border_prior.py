"""Object masks without a download: pixels that differ from the borders, near the middle."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from reid.data.images import Pixels
from reid.generate.colours import Floats, to_lab
from reid.generate.filters import blur
from reid.generate.registry import Generated, GeneratedMask, MaskArray, Rngs, generator
from reid.modality import Target

Reach = Annotated[float, Field(gt=0, le=10)]
_FEWEST = 0.02  # of the picture: less than this is specks, not an object
_SEEN = 8.0  # Lab units of a difference that counts half on a border of one colour


@generator("mask_prior", Target.MASK)
def prior(
    pixels: Pixels,
    rngs: Rngs,
    *,
    sides: Literal["left_right", "top_bottom"] = "left_right",
    steepness: Annotated[float, Field(gt=0, le=100)] = 4.0,
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.45,
    border: Annotated[float, Field(gt=0, le=0.5)] = 0.06,
    reach_across: Reach = 0.8,
    reach_along: Reach = 1.2,
    smooth: Annotated[float, Field(ge=0, le=0.2)] = 0.015,
) -> list[Generated]:
    """The object, where sigmoid(`steepness` (d c - `threshold`)) > 0.5. (B, H, W, 3) -> B masks (H, W).

    d in [0, 1) is a pixel's distance in Lab from the nearer of the two borders at its height, over itself
    plus the spread there; c is a super-Gaussian about the middle. `sides` are the borders that show ground:
    left and right of a person, top and bottom of a vehicle. `border` is a fraction of the way from border to
    border; c reaches `reach_across` half sizes that way and `reach_along` along the borders. Specks and holes
    go by a vote of the pixels within `smooth` of the longer side. The score is the overlap (IoU) that these
    probabilities expect. Where colour shows nothing, the mask is that of c and its score 0.
    """
    made: list[Generated] = []
    for picture in pixels:
        lab = to_lab(picture)
        if sides == "top_bottom":
            lab = np.ascontiguousarray(lab.transpose(1, 0, 2))
        mask, score = prior_mask(lab, steepness, threshold, border, reach_across, reach_along, smooth)
        made.append(GeneratedMask(np.ascontiguousarray(mask.T) if sides == "top_bottom" else mask, score))
    return made


def prior_mask(
    lab: Floats,
    steepness: float = 4.0,
    threshold: float = 0.45,
    border: float = 0.06,
    reach_across: float = 0.8,
    reach_along: float = 1.2,
    smooth: float = 0.015,
) -> tuple[MaskArray, float]:
    """`mask_prior` of one picture in Lab with ground left and right: (H, W, 3) -> mask (H, W) and score."""
    height, width = lab.shape[:2]
    strip = max(1, round(border * width))
    rows = max(1.0, height / 24)  # the ground changes with the height: street, wall, sky
    planes = np.ascontiguousarray(np.moveaxis(lab, -1, 0))
    left, right = _distance(planes, planes[..., :strip], rows), _distance(planes, planes[..., -strip:], rows)
    differs = np.minimum(left, right)
    centre = _hill(height, reach_along)[:, None] * _hill(width, reach_across)
    evidence = differs * centre
    mask: MaskArray = evidence > threshold
    if smooth * max(height, width) > 0.3:  # a narrower Gaussian is no blur
        mask = blur(mask.astype(np.float32), smooth * max(height, width)) > 0.5
    if mask.mean() < _FEWEST:
        return centre >= min(0.5, float(centre.max())), 0.0
    chance = 1 / (1 + np.exp(-steepness * (evidence - threshold)))
    shared, missed = float(chance[mask].sum()), float(chance[~mask].sum())
    return mask, shared / (int(mask.sum()) + missed)


def _hill(size: int, reach: float) -> Floats:
    """(size,) super-Gaussian of order 4 at the middles of `size` equal parts of [-1, 1]."""
    places = (np.arange(size, dtype=np.float32) + np.float32(0.5)) * np.float32(2 / size) - 1
    hill: Floats = np.exp(-((places / np.float32(reach)) ** 4))
    return hill


def _distance(planes: Floats, strip: Floats, rows: float) -> Floats:
    """(3, H, W) and its border (3, H, w) -> (H, W) in [0, 1): how far a pixel is from its row's border."""
    mean = blur(strip.mean(axis=2)[:, :, None], rows, across=False)  # (3, H, 1)
    scatter = ((strip - mean) ** 2).sum(axis=0).mean(axis=1)  # (H,)
    spread = np.sqrt(blur(scatter[:, None], rows, across=False))  # (H, 1)
    squares = planes - mean
    squares *= squares
    gap = np.sqrt(squares[0] + squares[1] + squares[2])
    apart: Floats = gap / (gap + spread + np.float32(_SEEN))
    return apart
