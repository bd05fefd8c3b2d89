"""The expert to which each patch of an image went."""

from __future__ import annotations

from dataclasses import dataclass

from reid.modality import Modality


@dataclass(frozen=True)
class RoutingMap:
    """A mixture's choices for one picture, drawn over it."""

    mixture: str  # e.g. "ffm0", "frm11"
    modality: Modality
    picture: bytes  # encoded
    pid: int
    rows: int
    columns: int
    experts: tuple[int, ...]  # of each patch, row by row; -1: dropped
    count: int  # experts of the mixture
