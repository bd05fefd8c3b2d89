"""A row of a batch before it is collated: encoded parts, a label, and auxiliary inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reid.data.batches.batch import UNKNOWN
from reid.modality import Modality

Parts = Mapping[Modality, bytes | str]
"""What there is of a capture: an encoded picture or a sentence, by modality."""


@dataclass(frozen=True)
class RowPart:
    """One modality of a row: an encoded image or a sentence, and where it was taken."""

    content: bytes | str
    source: str
    """Names the content in messages and in the cache: sample id, file or form field."""
    camid: int | None = None
    viewid: int | None = None
    sample_id: str | None = None


@dataclass(frozen=True)
class BatchRow:
    """A row of a batch: its parts, and the contiguous identity label when there is one."""

    parts: Mapping[Modality, RowPart]
    label: int = UNKNOWN
    caption: RowPart | None = None
    """A sentence beside the modalities, for models with `auxiliary` caption."""
    mask: bytes | None = None
    """A 1-bit PNG of where the object is, aligned with the row's pictures."""
