"""What should be told of a picture that was read all the same, by kind."""

from __future__ import annotations

from dataclasses import dataclass

from reid.modality import FOURTH_BANDS

HIDDEN = "hidden-colours"
BAND = "band-left-out"
FIRST = "first-of-several"
DIM = "dim-deep-colours"
OUTLIERS = "range-outliers"
CLIPPED = "range-clipped"

OF_RANGES = (OUTLIERS, CLIPPED)
"""Kinds that depend on data.range."""

SUMMARIES = {
    HIDDEN: "pictures are hidden by their own alpha; the colours under it are shown",
    BAND: "pictures have a band more than their colours, which is left out "
    f"(data.fourth_band={' or '.join(FOURTH_BANDS)} takes it)",
    FIRST: "files hold several pictures (frames, pages), of which the first is taken",
    DIM: "pictures have colours of 16 bits and use less than a quarter of them, so that they come out dark",
    OUTLIERS: "pictures have, in more than 8 bits, values far outside all their others, e.g. of stuck pixels",
    CLIPPED: "pictures lie outside data.range's fixed limits with more than 2 % of their pixels",
}
"""Kind -> what is said of all pictures of it, after their number."""


@dataclass(frozen=True)
class PictureNote:
    """One thing to know of a picture: its kind, for counting, and the sentence about this one."""

    kind: str
    text: str
