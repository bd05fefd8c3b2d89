"""Pictures of one channel with more than 8 bits: which values become black and white.

`percentile` leaves out, at each end, a thousandth of the pixels and at least four (none in pictures of less
than 64 pixels): a few stuck pixels move nothing, a hot object of that size or smaller is white all the same,
and every larger one keeps its shades. Where only what is left out differs from the rest, all of it counts.
`min_max` takes the extremes. Both are each picture's own, so that a grey level is no temperature;
`fixed: [low, high]` makes it one.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from reid.config import FixedRange, RangeRule
from reid.data.images.notes import CLIPPED, OUTLIERS, PictureNote

Pixels = npt.NDArray[np.uint8]
_LEFT_OUT = 1000
"""One pixel of so many is left out at each end,"""
_AT_LEAST = 4
"""but at least so many,"""
_OF = 64
"""or one of so many pixels, if that is less."""
_CLIPPED = 0.02
"""Share of pixels outside fixed limits from which it is told."""


def eight_bits(values: npt.NDArray[np.generic], rule: RangeRule) -> tuple[Pixels, tuple[PictureNote, ...]]:
    """Scale values (H, W) of any type to 0..255 by a rule; what is not finite becomes an extreme.

    >>> thermal = np.arange(29000, 30024, dtype=np.uint16).reshape(32, 32)
    >>> thermal[0, 0] = 65535  # a stuck pixel
    >>> eight_bits(thermal, "min_max")[0].max(initial=0, where=thermal < 65535)
    np.uint8(7)
    >>> grey, notes = eight_bits(thermal, "percentile")
    >>> grey.max(initial=0, where=thermal < 65535), [note.kind for note in notes]
    (np.uint8(255), ['range-outliers'])
    """
    floats = np.asarray(values, dtype=np.float32)
    finite = floats[np.isfinite(floats)]
    if isinstance(rule, FixedRange):
        low, high = rule.fixed
        notes = _clipped(finite, low, high)
    else:
        low, high, notes = _own_limits(finite, whole=rule == "min_max")
    scale = 255.0 / (high - low) if high > low else 0.0
    known = np.nan_to_num(floats, nan=low, posinf=high, neginf=low)
    scaled: Pixels = ((np.clip(known, low, high) - low) * scale).round().astype(np.uint8)
    return scaled, notes


def _own_limits(finite: npt.NDArray[np.float32], whole: bool) -> tuple[float, float, tuple[PictureNote, ...]]:
    """The values of a picture that become black and white, and whether few lie far outside them."""
    if not finite.size:
        return 0.0, 0.0, ()
    out = max(finite.size // _LEFT_OUT, min(_AT_LEAST, finite.size // _OF))
    last = finite.size - 1
    places = [0, out, last - out, last]
    least, low, high, most = np.partition(finite, places)[places].tolist()
    span = high - low
    notes: tuple[PictureNote, ...] = ()
    if span > 0 and (most - high > span or low - least > span):
        how = "data.range=min_max stretches the picture by them" if whole else "they are cut off"
        text = (
            f"a few values from {least:g} to {most:g} lie far outside all others, {low:g} to {high:g}; {how}"
        )
        notes = (PictureNote(OUTLIERS, text),)
    return (least, most, notes) if whole or span == 0 else (low, high, notes)


def _clipped(finite: npt.NDArray[np.float32], low: float, high: float) -> tuple[PictureNote, ...]:
    share = float(np.mean((finite < low) | (finite > high))) if finite.size else 0.0
    if share <= _CLIPPED:
        return ()
    seen = f"{float(finite.min()):g} to {float(finite.max()):g}"
    text = f"{share:.0%} of its pixels lie outside data.range's {low:g} to {high:g} (values from {seen})"
    return (PictureNote(CLIPPED, text),)
