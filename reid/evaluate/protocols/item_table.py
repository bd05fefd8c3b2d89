"""Queries or gallery items of a split as columns: which rows of the labels they are, and which captions.

An `ItemTable` reads as a sequence of `ProtocolQuery` or `GalleryItem`, made when one is asked for. Keys of
vectors and codes of labels are taken from the columns.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Generic, cast, overload

import numpy as np
import pyarrow as pa

from reid.evaluate.protocols.items import (
    GalleryItem,
    Item,
    Parts,
    ProtocolQuery,
    QueryPart,
    SampleLabels,
    Side,
    make_query,
    parts_key,
)
from reid.evaluate.protocols.label_table import Ints, LabelTable, taken
from reid.evaluate.several_samples import views_of
from reid.modality import Modality, Subset, subset_name

ABSENT = -1
"""In a column of captions: an item without a caption."""
CHUNK = 65536
"""Items whose parts are held as Python objects at a time."""


@dataclass(frozen=True, eq=False)
class PartColumn:
    """A further part of each of N queries, from a sample of its own; ABSENT where a query has none."""

    modality: Modality
    rows: Ints  # (N,) the sample, or ABSENT
    caption: Ints | None = None  # (N,) which caption, for text

    def take(self, places: Ints) -> PartColumn:
        """The parts of some of the queries."""
        caption = None if self.caption is None else self.caption[places]
        return PartColumn(self.modality, self.rows[places], caption)


@dataclass(frozen=True, eq=False)
class ItemTable(Sequence[Item], Generic[Item]):
    """N queries or gallery items of one label table.

    >>> from reid.evaluate.protocols.items import SampleLabels
    >>> from reid.evaluate.protocols.label_columns import label_table_of
    >>> labels = label_table_of([SampleLabels("a", "mine", 7), SampleLabels("b", "mine", 8)])
    >>> items = ItemTable("gallery", labels, ((Modality.RGB,),), np.arange(2))
    >>> len(items), items[1].pid, [part[Modality.RGB].sample_id for part in items.parts()]
    (2, 8, ['a', 'b'])
    """

    side: Side
    labels: LabelTable
    kinds: tuple[Subset, ...]  # the subsets of modalities that items may have
    rows: Ints  # (N,) the sample of each item
    kind: Ints | None = None  # (N,) place in `kinds`; None: all are of the first
    caption: Ints | None = None  # (N,) which caption of the sample, or ABSENT; None: no item has text
    donor: Ints | None = None  # (N,) the sample that gives the modalities in `given`
    given: Subset = ()
    seen: bool = True  # whether the camera, view and place of the sample are the item's
    anchor: Modality | None = None  # what queries hang on: the sample gives this part alone
    others: tuple[PartColumn, ...] = ()  # what accompanies it, one column a part

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, place: int) -> Item: ...
    @overload
    def __getitem__(self, place: slice) -> ItemTable[Item]: ...
    def __getitem__(self, place: int | slice) -> Item | ItemTable[Item]:
        if isinstance(place, slice):
            return self.take(np.arange(len(self))[place])
        if not -len(self) <= place < len(self):
            raise IndexError(f"item {place} of {len(self)}")
        return self._item(int(place) % len(self))

    def take(self, places: Ints) -> ItemTable[Item]:
        """Some of the items, in this order."""
        columns: dict[str, Any] = {
            name: None if (column := getattr(self, name)) is None else taken(column, places)
            for name in ("rows", "kind", "caption", "donor")
        }
        others = tuple(column.take(places) for column in self.others)
        return replace(self, **columns, others=others)

    @property
    def pids(self) -> Ints:
        """(N,) the identity of each item, as its data set numbers it."""
        return taken(self.labels.pid, self.rows)

    def rows_giving(self, modality: Modality) -> Ints:
        """(N,) the sample that the part of a modality comes from."""
        return self.donor if self.donor is not None and modality in self.given else self.rows

    @property
    def own(self) -> Subset:
        """The modalities whose first part is of the item's sample or its donor."""
        return self.modalities if self.anchor is None else (self.anchor,)

    @property
    def averaged(self) -> bool:
        """Whether an item may have several samples of a modality, so that its vector is a mean of several."""
        return len(self.others) > max(0, len(self.modalities) - 1)

    def having(self, modality: Modality) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """(N,) bool: items that have a part of a modality."""
        has = np.array([modality in kind for kind in self.kinds], bool)
        if self.kind is None:
            return np.broadcast_to(has[0], len(self))
        found: np.ndarray[tuple[int], np.dtype[np.bool_]] = has[self.kind]
        return found

    @cached_property
    def modalities(self) -> Subset:
        """Those of all kinds, in the order of the kinds."""
        return tuple(dict.fromkeys(m for kind in self.kinds for m in kind))

    def parts(self) -> Iterator[Parts]:
        """The parts of each item, one of each modality, in order; some thousands are held at a time."""
        if self.anchor is not None:
            yield from (_first(listed) for listed in self._gathered())
            return
        for start in range(0, len(self), CHUNK):
            chunk = self if len(self) <= CHUNK else self[start : start + CHUNK]
            names = _names(self.labels, chunk.rows)
            givers = names if chunk.donor is None else _names(self.labels, chunk.donor)
            for i, (name, giver) in enumerate(zip(names, givers, strict=True)):
                yield chunk._parts(i, name, giver)

    def views(self, subset: Subset | None = None) -> Iterator[list[Parts]]:
        """What is embedded of each item: one combination of parts, or several to be averaged.

        `subset` is that of the modalities which is embedded; None: all that an item has.
        """
        if not self.averaged:
            for parts in self.parts():
                yield [parts if subset is None else {m: parts[m] for m in subset}]
            return
        for listed in self._gathered():
            samples: dict[Modality, list[QueryPart]] = {m: [] for m in subset or self.modalities}
            for modality, part in listed:
                if modality in samples:
                    samples[modality].append(part)
            yield list(views_of(samples))

    def keys(self) -> Iterator[str]:
        """The key of each item's vector, as `parts_key` makes it; of items that are averaged the first."""
        plain = self.anchor is None and self.donor is None and self.caption is None
        if len(self.kinds) > 1 or not plain:
            yield from (parts_key(parts, self.side) for parts in self.parts())
            return
        for start in range(0, len(self), CHUNK):  # without text: only the name differs
            for name in _names(self.labels, self.rows[start : start + CHUNK]):
                listed = [[m.value, name, None] for m in self.kinds[0]]
                yield hashlib.sha256(json.dumps([self.side, listed]).encode()).hexdigest()[:32]

    def _gathered(self) -> Iterator[list[tuple[Modality, QueryPart]]]:
        """Every part of each query, the anchor's first."""
        assert self.anchor is not None
        for start in range(0, len(self), CHUNK):
            places: Ints = np.arange(start, min(start + CHUNK, len(self)))
            lead = PartColumn(self.anchor, self.rows, self.caption).take(places)
            columns = [_listed(self.labels, c) for c in (lead, *(c.take(places) for c in self.others))]
            for parts in zip(*columns, strict=True):
                yield [part for part in parts if part is not None]

    def _parts(self, place: int, name: str, giver: str) -> dict[Modality, QueryPart]:
        kind = self.kinds[0 if self.kind is None else int(self.kind[place])]
        caption = None if self.caption is None else int(self.caption[place])
        return {
            m: QueryPart(
                giver if m in self.given else name,
                caption if m is Modality.TEXT and caption != ABSENT else None,
            )
            for m in kind
        }

    def _item(self, place: int) -> Item:
        row = self.labels[int(self.rows[place])]
        if self.anchor is not None:
            return cast(Any, self._gathered_query(place, row))  # type: ignore[no-any-return]
        donor = row if self.donor is None else self.labels[int(self.donor[place])]
        parts = self._parts(place, row.sample_id, donor.sample_id)
        if self.side == "query":
            listed = [(m, donor if m in self.given else row, part.caption_index) for m, part in parts.items()]
            return cast(Any, make_query(listed, [row] if self.seen else []))  # type: ignore[no-any-return]
        kind = self.kinds[0 if self.kind is None else int(self.kind[place])]
        alone = f"#{parts[Modality.TEXT].caption_index}" if kind == (Modality.TEXT,) else ""
        of_kind = f":{subset_name(kind)}" if len(self.kinds) > 1 else ""
        found = GalleryItem(
            row.sample_id + alone + of_kind, row.pid, row.camid, parts, row.viewid, row.location, row.dataset
        )
        return cast(Any, found)  # type: ignore[no-any-return]

    def _gathered_query(self, place: int, row: SampleLabels) -> ProtocolQuery:
        """The query whose anchor is a part of this sample."""
        (listed,) = self[place : place + 1]._gathered()
        parts = _first(listed)
        more = list(listed)
        for first in parts.items():
            more.remove(first)
        others = [int(c.rows[place]) for c in self.others if c.rows[place] != ABSENT]
        seen = [self.labels[other] for other in others]
        return ProtocolQuery(
            query_id="+".join(dict.fromkeys(item_name(part) for _, part in listed)),
            pid=row.pid,
            camid=row.camid,
            viewid=row.viewid,
            parts={m: parts[m] for m in self.modalities},
            location=row.location,
            more=tuple(more),
            seen_by=tuple((other.camid, other.location) for other in seen),
        )


@dataclass(frozen=True, eq=False)
class Selection(Generic[Item]):
    """Queries or gallery items, and the number of samples of that side that lack a modality of the subset."""

    items: ItemTable[Item]
    lacking: int


def item_name(part: QueryPart) -> str:
    """ "0001", or "0001#1" for its second caption."""
    return part.sample_id if part.caption_index is None else f"{part.sample_id}#{part.caption_index}"


def _first(listed: Iterable[tuple[Modality, QueryPart]]) -> dict[Modality, QueryPart]:
    """The first part of each modality."""
    found: dict[Modality, QueryPart] = {}
    for modality, part in listed:
        found.setdefault(modality, part)
    return found


def _listed(labels: LabelTable, column: PartColumn) -> list[tuple[Modality, QueryPart] | None]:
    """The parts of a column; None where there is none."""
    names = _names(labels, np.maximum(column.rows, 0))
    captions = [None] * len(names) if column.caption is None else column.caption.tolist()
    return [
        None if row == ABSENT else (column.modality, QueryPart(name, caption))
        for row, name, caption in zip(column.rows.tolist(), names, captions, strict=True)
    ]


def _names(labels: LabelTable, rows: Ints) -> list[str]:
    names: list[str] = labels.names.take(pa.array(rows)).to_pylist()
    return names
