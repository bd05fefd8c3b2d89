"""The shards of a set as a table: one row each, and their statistics when one of them is asked for."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from reid.data.shards.identity_table import IdentityTable, TableBuilder
from reid.data.shards.manifest import Shard
from reid.modality import Modality

_PLAIN = ("key", "file", "split", "rows", "bytes", "sha256", "cameras")
_ELSEWHERE = {*_PLAIN, "row_groups", "digests", "quarantined", "seconds", "worked"}
SHARD_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("file", pa.string()),
        ("split", pa.string()),
        ("rows", pa.int64()),
        ("bytes", pa.int64()),
        ("sha256", pa.string()),
        ("cameras", pa.list_(pa.int32())),
        ("first", pa.int64()),  # of its entries in the table of identities
        ("entries", pa.int64()),
        ("details", pa.string()),  # JSON: what else its statistics say
    ]
)
_BATCH = 4096


class ShardTable(Sequence[Shard]):
    """The shards of a manifest, in order; a `Shard` is made when it is asked for.

    It lists every row group of a shard, but not its rejected rows, which are in the quarantine table, no
    digests and no times: equal shards have equal tables.

    >>> table = reid.open_shards("runs/shards/mine").shards.stored
    >>> len(table) == len(table.columns), table[0].file == table.column("file")[0]
    (True, True)
    """

    def __init__(self, columns: pa.Table, identities: IdentityTable) -> None:
        self.columns, self.identities = columns, identities

    @classmethod
    def of(cls, shards: Sequence[Shard]) -> ShardTable:
        """The same shards as a table."""
        if isinstance(shards, ShardTable):
            return shards
        return ShardTableBuilder.of(shards).table()

    def __len__(self) -> int:
        return int(self.columns.num_rows)

    @overload
    def __getitem__(self, index: int) -> Shard: ...
    @overload
    def __getitem__(self, index: slice) -> list[Shard]: ...
    def __getitem__(self, index: int | slice) -> Shard | list[Shard]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"shard {index} of {len(self)}")
        (row,) = self.columns.slice(index % len(self), 1).to_pylist()
        return self._shard(row)

    def __iter__(self) -> Iterator[Shard]:
        for batch in self.columns.to_batches(max_chunksize=_BATCH):
            yield from map(self._shard, batch.to_pylist())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{len(self)} shards, {len(self.identities)} entries of identities>"

    def column(self, name: str) -> list[Any]:
        """A column of SHARD_SCHEMA as a list."""
        found: list[Any] = self.columns[name].to_pylist()
        return found

    def numbers(self, name: str) -> NDArray[np.int64]:
        """A column of whole numbers."""
        found: NDArray[np.int64] = self.columns[name].to_numpy()
        return found

    @cached_property
    def splits(self) -> list[str]:
        """The distinct splits, in the order of their first shard."""
        found: list[str] = pc.unique(self.columns["split"]).to_pylist()
        return found

    def of_split(self, split: str) -> NDArray[np.int64]:
        """Positions of the shards of a split, in order."""
        return np.flatnonzero(pc.equal(self.columns["split"], split).to_numpy(zero_copy_only=False))

    def modalities(self, split: str) -> Iterator[list[Modality]]:
        """What each shard of a split has pictures or sentences of; no shard's row groups are made."""
        for text in self.columns["details"].take(pa.array(self.of_split(split))).to_pylist():
            counted: dict[str, dict[str, int]] = json.loads(text)["modalities"]
            yield [Modality(name) for name, by in counted.items() if sum(by.values())]

    def index(self, value: Any, start: int = 0, stop: int | None = None) -> int:
        """The position of a shard with these statistics. Raises ValueError when there is none."""
        return list(self).index(value, start, len(self) if stop is None else stop)

    def take(self, places: Iterable[int]) -> ShardTable:
        """Some of the shards, in a new order."""
        chosen = np.fromiter(places, np.int64)
        first, entries = self.numbers("first")[chosen], self.numbers("entries")[chosen]
        begin = np.cumsum(entries) - entries
        flat = np.arange(int(entries.sum())) - np.repeat(begin - first, entries)
        table = self.identities.take(flat)
        numbered = replace(table, shard=np.repeat(np.arange(len(chosen), dtype=np.int32), entries))
        columns = self.columns.take(pa.array(chosen))
        place = columns.schema.get_field_index("first")
        return ShardTable(columns.set_column(place, "first", pa.array(begin, pa.int64())), numbered)

    def _shard(self, row: dict[str, Any]) -> Shard:
        plain = {name: row[name] for name in _PLAIN}
        bare = Shard.model_validate({**json.loads(row["details"]), **plain, "row_groups": []})
        start, stop = row["first"], row["first"] + row["entries"]
        groups = self.identities.row_groups(start, stop, bare.uniform is not None)
        return bare.model_copy(update={"row_groups": groups})


class ShardTableBuilder:
    """Collects the statistics of shards as columns, so that none of them stays as an object."""

    def __init__(self) -> None:
        self._identities = TableBuilder()
        self._rows: list[dict[str, Any]] = []
        self._batches: list[pa.RecordBatch] = []
        self._count = 0

    @classmethod
    def of(cls, shards: Iterable[Shard]) -> ShardTableBuilder:
        """These shards."""
        built = cls()
        for shard in shards:
            built.add(shard)
        return built

    def __len__(self) -> int:
        return self._count

    def add(self, shard: Shard) -> int:
        """Add a shard; returns its position."""
        number, first = self._count, len(self._identities)
        entries = self._identities.add(number, shard)
        details = shard.model_dump(mode="json", exclude=_ELSEWHERE)
        plain = {name: getattr(shard, name) for name in _PLAIN}
        self._rows.append(
            {**plain, "first": first, "entries": entries, "details": json.dumps(details, sort_keys=True)}
        )
        self._count += 1
        if len(self._rows) == _BATCH:
            self._flush()
        return number

    def table(self) -> ShardTable:
        """The shards so far."""
        self._flush()
        columns = pa.Table.from_batches(self._batches, schema=SHARD_SCHEMA)
        return ShardTable(columns, self._identities.table())

    def _flush(self) -> None:
        if self._rows:
            self._batches.append(pa.RecordBatch.from_pylist(self._rows, schema=SHARD_SCHEMA))
            self._rows = []
