"""The statistics of a build's finished shards, collected as columns: the driver holds no shard as an object.

Digests of pictures, 16 bytes a row, are kept in a temporary file.
"""

from __future__ import annotations

import base64
import tempfile
import weakref
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from reid.data.shards.manifest import QUARANTINE_SCHEMA, NotedPictures, Shard
from reid.data.shards.shard_table import ShardTable, ShardTableBuilder

DIGEST = 16
"""Bytes of a digest."""
_BLOCK = 2**22
_FLUSH = 4096
_TICK = 10_000
"""Parts of a second in which times are summed: exactly, whatever the order."""


@dataclass
class Sums:
    """What the statistics of all shards add up to."""

    ticks: Counter[str] = field(default_factory=Counter)
    worked: Counter[str] = field(default_factory=Counter)
    captions: Counter[str] = field(default_factory=Counter)

    def add(self, shard: Shard) -> None:
        """Add those of a shard."""
        self.ticks.update({name: round(seconds * _TICK) for name, seconds in shard.seconds.items()})
        self.worked.update(shard.worked)
        self.captions.update(shard.captions)

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds of one worker, by stage."""
        return {name: round(ticks / _TICK, 3) for name, ticks in sorted(self.ticks.items())}


class _Spill:
    """A temporary file that is closed, and so deleted, with the last object that holds it."""

    def __init__(self) -> None:
        self.stream = tempfile.TemporaryFile(prefix="anyreid-digests-")  # noqa: SIM115
        weakref.finalize(self, self.stream.close)


@dataclass(frozen=True)
class DigestFile:
    """Digests of the rows of shards, in the order of the shards."""

    file: _Spill
    offsets: NDArray[np.int64]
    """(shards,) where those of a shard begin in the file, -1: it has none."""
    rows: NDArray[np.int64]

    @property
    def usable(self) -> NDArray[np.int64]:
        """The shards that have digests."""
        return np.flatnonzero(self.offsets >= 0)

    def blocks(self) -> Iterator[NDArray[np.uint64]]:
        """(n, 2) digests of consecutive rows of the usable shards."""
        start = size = 0
        for shard in self.usable.tolist():
            offset, length = int(self.offsets[shard]), int(self.rows[shard]) * DIGEST
            if size and (offset != start + size or size >= _BLOCK):
                yield self._read(start, size)
                start, size = offset, 0
            start, size = (start, size + length) if size else (offset, length)
        if size:
            yield self._read(start, size)

    def _read(self, start: int, size: int) -> NDArray[np.uint64]:
        self.file.stream.seek(start)
        return np.frombuffer(self.file.stream.read(size), np.uint64).reshape(-1, 2)


@dataclass(frozen=True)
class CollectedShards:
    """The finished shards of a build, in order."""

    table: ShardTable
    digests: DigestFile
    aside: pa.Table
    """The rejected rows of all shards: the columns of QUARANTINE_SCHEMA and the `shard` of each."""
    sums: Sums
    notes: Mapping[int, Mapping[str, NotedPictures]]
    """Shard -> what should be told of its pictures, by kind."""


class BuiltShards:
    """Collects finished shards in any order.

    >>> BuiltShards.of([]).collected().table
    <0 shards, 0 entries of identities>
    """

    def __init__(self) -> None:
        self.places: dict[str, int] = {}
        """Key of a shard -> its position in the order in which they came."""
        self._table, self._sums = ShardTableBuilder(), Sums()
        self._digests, self._written = _Spill(), 0
        self._offsets: list[int] = []
        self._rows: list[int] = []
        self._notes: dict[int, dict[str, NotedPictures]] = {}
        self._aside: list[dict[str, object]] = []
        self._batches: list[pa.RecordBatch] = []

    @classmethod
    def of(cls, shards: Iterable[Shard]) -> BuiltShards:
        """These shards."""
        built = cls()
        for shard in shards:
            built.add(shard)
        return built

    def __contains__(self, key: str) -> bool:
        return key in self.places

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, shard: Shard) -> None:
        """Take the statistics of a shard."""
        number = self._table.add(shard)
        self.places[shard.key] = number
        digests = base64.b64decode(shard.digests)
        usable = len(digests) == DIGEST * shard.rows
        self._offsets.append(self._written if usable else -1)
        self._rows.append(shard.rows)
        if usable:
            self._digests.stream.seek(self._written)
            self._written += self._digests.stream.write(digests)
        self._sums.add(shard)
        if shard.notes:
            self._notes[number] = dict(shard.notes)
        self._aside += [{**row, "shard": number} for row in shard.quarantined]
        if len(self._aside) >= _FLUSH:
            self._flush()

    def collected(self, keys: Sequence[str] | None = None) -> CollectedShards:
        """The shards with these keys in this order; default: all, as they came."""
        self._flush()
        came = np.arange(len(self), dtype=np.int64)
        order = came if keys is None else np.fromiter((self.places[key] for key in keys), np.int64, len(keys))
        table, aside = self._table.table(), pa.Table.from_batches(self._batches, _ASIDE)
        if not np.array_equal(order, came):
            table = table.take(order.tolist())
            new = np.full(len(self), -1, np.int64)
            new[order] = np.arange(len(order))
            aside = in_order(renumbered(aside, new))
        number = {int(old): place for place, old in enumerate(order)}
        offsets = np.array(self._offsets, np.int64)[order]
        return CollectedShards(
            table=table,
            digests=DigestFile(self._digests, offsets, table.numbers("rows")),
            aside=aside,
            sums=self._sums,
            notes={number[old]: notes for old, notes in sorted(self._notes.items()) if old in number},
        )

    def _flush(self) -> None:
        if self._aside:
            self._batches.append(pa.RecordBatch.from_pylist(self._aside, schema=_ASIDE))
            self._aside = []


_ASIDE = QUARANTINE_SCHEMA.append(pa.field("shard", pa.int64()))


def aside_table(rows: Mapping[int, Sequence[Mapping[str, object]]]) -> pa.Table:
    """Rejected rows by shard, as in `CollectedShards.aside`."""
    listed = [{**row, "shard": shard} for shard, own in rows.items() for row in own]
    return pa.Table.from_pylist(listed, schema=_ASIDE)


def renumbered(aside: pa.Table, new: NDArray[np.int64]) -> pa.Table:
    """Rejected rows with the new numbers of their shards; those of shards without one are left out."""
    numbers = new[aside["shard"].to_numpy()]
    place = aside.schema.get_field_index("shard")
    return aside.set_column(place, _ASIDE.field("shard"), pa.array(numbers)).filter(pa.array(numbers >= 0))


def in_order(aside: pa.Table) -> pa.Table:
    """Rejected rows by shard; those of a shard keep their order."""
    return aside.take(pa.array(np.argsort(aside["shard"].to_numpy(), kind="stable")))
