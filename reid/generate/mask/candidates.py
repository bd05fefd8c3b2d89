"""Chooses a segmenter's mask of the object, and merges the masks of several modalities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image as PILImage

from reid.generate.registry import GeneratedMask, MaskArray

Fuse = Literal["first", "best_score", "union", "majority"]


def choose_candidate(
    masks: MaskArray, scores: npt.NDArray[np.floating], smallest: float = 0.08, largest: float = 0.85
) -> GeneratedMask | None:
    """The best-scored of (C, H, W) masks with a plausible area and the centre pixel inside."""
    height, width = masks.shape[1:]
    share = masks.mean(axis=(1, 2))
    fits = (share >= smallest) & (share <= largest) & masks[:, height // 2, width // 2] & np.isfinite(scores)
    if not fits.any():
        return None
    best = int(np.argmax(np.where(fits, scores, -np.inf)))
    return GeneratedMask(masks[best], float(scores[best]))


def fuse_masks(masks: Sequence[GeneratedMask], how: Fuse) -> GeneratedMask:
    """One mask from at least one, all of the size of the first; ties of `majority` count as inside.

    The score is that of the mask taken, or the mean of those put together.
    """
    if how in {"first", "best_score"} or len(masks) == 1:
        return masks[0] if how == "first" else max(masks, key=_score)
    votes = np.stack([m.mask for m in masks]).mean(axis=0)
    joined = votes > 0 if how == "union" else votes >= 0.5
    return GeneratedMask(joined, float(np.mean([_score(m) for m in masks])))


def resize_mask(mask: GeneratedMask, height: int, width: int) -> GeneratedMask:
    """The mask at another size, by the nearest pixel."""
    if mask.mask.shape == (height, width):
        return mask
    image = PILImage.fromarray(mask.mask.astype(np.uint8)).resize(
        (width, height), PILImage.Resampling.NEAREST
    )
    return GeneratedMask(np.asarray(image, dtype=np.bool_), mask.score)


def _score(mask: GeneratedMask) -> float:
    return 0.0 if mask.score is None else mask.score
