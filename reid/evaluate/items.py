"""What is ranked: samples' labels, queries, gallery items, their feature keys and label arrays."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

import torch
from torch import Tensor

from reid.data.schema import Sample
from reid.errors import DataError
from reid.modality import Modality, Subset, canonical

Side = Literal["query", "gallery"]
UNKNOWN = -1


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
class Part:
    """One modality of a query or gallery item: whose it is, and which caption if it is text."""

    sample_id: str
    caption_index: int | None = None


Parts = Mapping[Modality, Part]


@dataclass(frozen=True)
class Query:
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


Item = TypeVar("Item", Query, GalleryItem)


@dataclass(frozen=True)
class Selected(Generic[Item]):
    """Queries or gallery items, and how many samples of that side lack a modality of the subset."""

    items: tuple[Item, ...]
    lacking: int


@dataclass(frozen=True, eq=False)
class Meta:
    """Labels of N queries or gallery items as arrays; `metas` makes both sides in common codes."""

    pid: Tensor  # (N,) int64 code of (dataset, pid)
    camid: Tensor  # (N,) int64, UNKNOWN where not known
    viewid: Tensor  # (N,) int64, UNKNOWN where not known
    location: Tensor  # (N,) int64 code of the location's name, UNKNOWN where not known
    samples: Tensor  # (N, K) int64 codes of the samples of its parts, padded with UNKNOWN
    sources: Tensor  # (N, L) int64 codes of samples that parts were made from, padded too

    def __len__(self) -> int:
        return len(self.pid)

    def __getitem__(self, rows: slice) -> Meta:
        columns = (self.pid, self.camid, self.viewid, self.location, self.samples, self.sources)
        return Meta(*(column[rows] for column in columns))


def make_query(parts: Sequence[tuple[Modality, SampleLabels, int | None]]) -> Query:
    """A query of (modality, sample, caption index) parts; a camera, view or location that differs is None.

    Raises DataError for no parts, a part that its sample lacks, or parts of several identities.
    """
    if not parts:
        raise DataError("A query needs at least one part.")
    rows = [row for _, row, _ in parts]
    if len({(row.dataset, row.pid) for row in rows}) > 1:
        raise DataError(f"A query's parts show several identities: {[row.sample_id for row in rows]}.")
    for modality, row, caption in parts:
        row.provenance(modality, caption)
    cameras, views = {row.camid for row in rows}, {row.viewid for row in rows}
    locations = {row.location for row in rows}
    names: dict[str, int | None] = {}
    for _, row, caption in parts:
        if caption is not None or row.sample_id not in names:
            names[row.sample_id] = caption
    return Query(
        query_id="+".join(n if c is None else f"{n}#{c}" for n, c in names.items()),
        pid=rows[0].pid,
        camid=cameras.pop() if len(cameras) == 1 else None,
        viewid=views.pop() if len(views) == 1 else None,
        parts={m: Part(row.sample_id, caption) for m, row, caption in parts},
        location=locations.pop() if len(locations) == 1 else None,
    )


def parts_key(parts: Parts, side: Side) -> str:
    """The key of a feature: 32 hex digits of SHA-256 over what is embedded and for which side."""
    listed = [[m.value, parts[m].sample_id, parts[m].caption_index] for m in canonical(parts)]
    return hashlib.sha256(json.dumps([side, listed]).encode()).hexdigest()[:32]


def metas(
    queries: Sequence[Query], gallery: Sequence[GalleryItem], labels: Iterable[SampleLabels]
) -> tuple[Meta, Meta]:
    """The label arrays of both sides, in their order. Identities key on (dataset, pid).

    Raises DataError for a part whose sample is not among `labels`, or a sample listed twice.
    """
    known: dict[str, SampleLabels] = {}
    for row in labels:
        if known.setdefault(row.sample_id, row) is not row:
            raise DataError(f"Two samples are called {row.sample_id!r}; sample_id must be unique.")
    identities: dict[tuple[str, int], int] = {}
    samples: dict[str, int] = {}
    locations: dict[str | None, int] = {None: UNKNOWN}

    def arrays(items: Sequence[Query] | Sequence[GalleryItem]) -> Meta:
        pids, owners, makers = [], [], []
        for item in items:
            try:
                rows = [(known[part.sample_id], m, part) for m, part in item.parts.items()]
            except KeyError as error:
                raise DataError(f"No labels for sample {error}, which an item is made of.") from None
            dataset = rows[0][0].dataset
            pids.append(identities.setdefault((dataset, item.pid), len(identities)))
            sources = [_source(row, m, part) for row, m, part in rows]
            owned = dict.fromkeys(row.sample_id for row, _, _ in rows)
            owners.append([samples.setdefault(name, len(samples)) for name in owned])
            made = dict.fromkeys(name for name in sources if name is not None)
            makers.append([samples.setdefault(name, len(samples)) for name in made])
        return Meta(
            pid=torch.tensor(pids, dtype=torch.int64),
            camid=_codes([item.camid for item in items]),
            viewid=_codes([item.viewid for item in items]),
            location=_codes([locations.setdefault(item.location, len(locations)) for item in items]),
            samples=_padded(owners),
            sources=_padded(makers),
        )

    return arrays(queries), arrays(gallery)


def _source(row: SampleLabels, modality: Modality, part: Part) -> str | None:
    """The sample that a part was made from: its own if it was generated and names no other."""
    came = row.provenance(modality, part.caption_index)
    return row.sample_id if came == Provenance("generated") else came.source_id


def _codes(values: Sequence[int | None]) -> Tensor:
    return torch.tensor([UNKNOWN if v is None else v for v in values], dtype=torch.int64)


def _padded(rows: list[list[int]]) -> Tensor:
    width = max(map(len, rows), default=0)
    return torch.tensor([row + [UNKNOWN] * (width - len(row)) for row in rows], dtype=torch.int64).reshape(
        len(rows), width
    )
