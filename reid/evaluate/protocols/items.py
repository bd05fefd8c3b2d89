"""Samples' labels, queries and gallery items of an evaluation, and the keys of their features."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from reid.data.shards.schema import Sample
from reid.errors import DataError
from reid.evaluate.several_samples import views_of
from reid.modality import Modality, Subset, canonical

Side = Literal["query", "gallery"]


@dataclass(frozen=True)
class Provenance:
    """Where an image or caption comes from: captured or generated, and from which sample.

    >>> Provenance("generated", source_id="0001").origin
    'generated'
    """

    origin: str = "captured"
    source_id: str | None = None


@dataclass(frozen=True)
class SampleLabels:
    """The labels of a sample, without pixels and texts. `sample_id` is unique.

    >>> labels = SampleLabels("0001", "mine", pid=7, images={Modality.RGB: Provenance()})
    >>> labels.modalities
    (<Modality.RGB: 'rgb'>,)
    """

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
        """Where one part of the sample comes from.

        Args:
            modality: modality of the part.
            caption_index: which caption, for text; None: the first.

        Raises DataError if the sample has no such part.
        """
        try:
            if modality is Modality.TEXT:
                return self.captions[0 if caption_index is None else caption_index]
            return (self.images or {})[modality]
        except (KeyError, IndexError):
            raise DataError(f"Sample {self.sample_id!r} has no {modality.value} part.") from None


@dataclass(frozen=True)
class QueryPart:
    """One modality of a query or gallery item: the sample that it comes from, and which caption for text.

    >>> QueryPart("0001", caption_index=1)
    QueryPart(sample_id='0001', caption_index=1)
    """

    sample_id: str
    caption_index: int | None = None


Parts = Mapping[Modality, QueryPart]


@dataclass(frozen=True)
class ProtocolQuery:
    """One query. Its parts may come from several samples of one identity; `make_query` builds it.

    `camid`, `viewid` and `location` are the anchor's, where it has one; `seen_by` has camera and location of
    every other part.
    """

    query_id: str
    pid: int
    camid: int | None
    viewid: int | None
    parts: Parts  # one of each modality
    location: str | None = None
    more: tuple[tuple[Modality, QueryPart], ...] = ()  # further samples of the modalities
    seen_by: tuple[tuple[int | None, str | None], ...] = ()

    @property
    def listed(self) -> list[tuple[Modality, QueryPart]]:
        """Every part with its modality."""
        return [*self.parts.items(), *self.more]

    @property
    def views(self) -> list[dict[Modality, QueryPart]]:
        """What is embedded: one sample of each modality, in every combination."""
        samples: dict[Modality, list[QueryPart]] = {m: [part] for m, part in self.parts.items()}
        for modality, part in self.more:
            samples[modality].append(part)
        return views_of(samples)


@dataclass(frozen=True)
class GalleryItem:
    """One gallery item: one sample, seen in the gallery's modalities.

    >>> GalleryItem("0001", 7, None, {Modality.RGB: QueryPart("0001")}).pid
    7
    """

    item_id: str
    pid: int
    camid: int | None
    parts: Parts
    viewid: int | None = None
    location: str | None = None
    dataset: str = ""


Item = TypeVar("Item", ProtocolQuery, GalleryItem)
Value = TypeVar("Value", int, str)


def make_query(
    parts: Sequence[tuple[Modality, SampleLabels, int | None]],
    seen: Sequence[SampleLabels] | None = None,
) -> ProtocolQuery:
    """Build a query from parts of one identity.

    Args:
        parts: (modality, sample, caption index or None) of each part; at least one.
        seen: samples that decide the query's camera, view and location; default: those of all parts. A label
            on which they disagree becomes None.

    Raises DataError for no parts, for a part that its sample lacks, and for parts of several identities.

    >>> labels = SampleLabels("0001", "mine", pid=7, camid=2, images={Modality.RGB: Provenance()})
    >>> query = make_query([(Modality.RGB, labels, None)])
    >>> query.query_id, query.camid
    ('0001', 2)
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
    """The key of a feature: 32 hex digits of SHA-256 over the parts and the side.

    Args:
        parts: modality -> part.
        side: "query" or "gallery".

    >>> len(parts_key({Modality.RGB: QueryPart("0001")}, "query"))
    32
    """
    listed = [[m.value, parts[m].sample_id, parts[m].caption_index] for m in canonical(parts)]
    return hashlib.sha256(json.dumps([side, listed]).encode()).hexdigest()[:32]


def _common(values: Sequence[Value | None]) -> Value | None:
    """The value that all have; None if they differ or there is none."""
    return values[0] if len(set(values)) == 1 else None
