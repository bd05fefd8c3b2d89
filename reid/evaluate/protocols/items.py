"""What is ranked: samples' labels, queries, gallery items, and the keys of their features."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from reid.data.shards.schema import Sample
from reid.errors import DataError
from reid.modality import Modality, Subset, canonical

Side = Literal["query", "gallery"]


@dataclass(frozen=True)
class Provenance:
    """Where an image or caption comes from: captured or generated, and of which sample."""

    origin: str = "captured"
    source_id: str | None = None


@dataclass(frozen=True)
class SampleLabels:
    """A sample without pixels and texts: what a protocol needs. `sample_id` is unique."""

    sample_id: str
    dataset: str
    pid: int
    split: str = "test"
    camid: int | None = None
    viewid: int | None = None
    roles: tuple[str, ...] | None = None
    images: Mapping[Modality, Provenance] | None = None
    captions: tuple[Provenance, ...] = ()
    location: str | None = None
    content_hash: str | None = None

    @property
    def modalities(self) -> Subset:
        """The modalities that the sample has."""
        return canonical([*(self.images or ()), *([Modality.TEXT] if self.captions else [])])

    @staticmethod
    def of(sample: Sample) -> SampleLabels:
        """The labels of a full sample."""
        row = sample.labels
        return SampleLabels(
            sample_id=row.sample_id,
            dataset=row.dataset,
            pid=row.pid,
            split=row.split,
            camid=row.camid,
            viewid=row.viewid,
            roles=row.roles,
            images={m: Provenance(i.origin, i.source_id) for m, i in sample.images.items()},
            captions=tuple(Provenance(c.origin, c.source_id) for c in sample.captions),
            location=row.location,
            content_hash=sample.content_hash,
        )

    def provenance(self, modality: Modality, caption_index: int | None) -> Provenance:
        """Where one part of the sample comes from. Raises DataError if there is no such part."""
        try:
            if modality is Modality.TEXT:
                return self.captions[0 if caption_index is None else caption_index]
            return (self.images or {})[modality]
        except (KeyError, IndexError):
            raise DataError(f"Sample {self.sample_id!r} has no {modality.value} part.") from None


@dataclass(frozen=True)
class QueryPart:
    """One modality of a query or gallery item: whose it is, and which caption if it is text."""

    sample_id: str
    caption_index: int | None = None


Parts = Mapping[Modality, QueryPart]


@dataclass(frozen=True)
class ProtocolQuery:
    """What is asked. Its parts may come from several samples of one identity."""

    query_id: str
    pid: int
    camid: int | None
    viewid: int | None
    parts: Parts
    location: str | None = None


@dataclass(frozen=True)
class GalleryItem:
    """What can be found: one sample, seen in the gallery's modalities."""

    item_id: str
    pid: int
    camid: int | None
    parts: Parts
    viewid: int | None = None
    location: str | None = None
    dataset: str = ""


Item = TypeVar("Item", ProtocolQuery, GalleryItem)
Value = TypeVar("Value", int, str)


@dataclass(frozen=True)
class Selection(Generic[Item]):
    """Queries or gallery items, and how many samples of that side lack a modality of the subset."""

    items: tuple[Item, ...]
    lacking: int


def make_query(
    parts: Sequence[tuple[Modality, SampleLabels, int | None]],
    seen: Sequence[SampleLabels] | None = None,
) -> ProtocolQuery:
    """A query of (modality, sample, caption index) parts; a camera, view or location that differs is None.

    `seen` are the samples whose camera, view and location count: by default those of all parts. Raises
    DataError for no parts, a part that its sample lacks, or parts of several identities.
    """
    if not parts:
        raise DataError("A query needs at least one part.")
    rows = [row for _, row, _ in parts]
    if len({(row.dataset, row.pid) for row in rows}) > 1:
        raise DataError(f"A query's parts show several identities: {[row.sample_id for row in rows]}.")
    for modality, row, caption in parts:
        row.provenance(modality, caption)
    names: dict[str, int | None] = {}
    for _, row, caption in parts:
        if caption is not None or row.sample_id not in names:
            names[row.sample_id] = caption
    seen = rows if seen is None else seen
    return ProtocolQuery(
        query_id="+".join(n if c is None else f"{n}#{c}" for n, c in names.items()),
        pid=rows[0].pid,
        camid=_common([row.camid for row in seen]),
        viewid=_common([row.viewid for row in seen]),
        parts={m: QueryPart(row.sample_id, caption) for m, row, caption in parts},
        location=_common([row.location for row in seen]),
    )


def parts_key(parts: Parts, side: Side) -> str:
    """The key of a feature: 32 hex digits of SHA-256 over what is embedded and for which side."""
    listed = [[m.value, parts[m].sample_id, parts[m].caption_index] for m in canonical(parts)]
    return hashlib.sha256(json.dumps([side, listed]).encode()).hexdigest()[:32]


def _common(values: Sequence[Value | None]) -> Value | None:
    """The value that all have; None if they differ or there is none."""
    return values[0] if len(set(values)) == 1 else None
