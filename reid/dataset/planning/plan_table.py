"""The plans of a build's shards as a table: 200,000 of them are some MiB; a plan is made when it is used."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from reid import storage
from reid.data.readers.base import Record
from reid.dataset.planning.plan_files import PLAN_FOLDER, PlanSlice, TemporaryPlanFolder

_SCHEMA = pa.schema(
    [
        ("source_key", pa.string()),
        ("made_key", pa.string()),
        ("split", pa.string()),
        ("rows", pa.int64()),
        ("uri", pa.dictionary(pa.int32(), pa.string())),
        ("batch", pa.int32()),
    ]
)
_BATCH = 4096


@dataclass(frozen=True)
class ShardPlan:
    """One shard: how many rows, the two names of its content, and where its records are."""

    source_key: str
    """Changes when a record, its files or what reads them does."""
    made_key: str
    """Changes when what is made of them does."""
    split: str
    rows: int
    place: PlanSlice = field(compare=False)
    folder: Any = field(default=None, compare=False, repr=False)
    """Keeps a temporary folder as long as a plan of it is held."""

    @property
    def key(self) -> str:
        """Names the shard. Shards of one source lie side by side in a listing."""
        return f"{self.source_key}-{self.made_key}"

    @property
    def records(self) -> tuple[Record, ...]:
        """The records, read from the plan file."""
        return self.place.records()


class PlanTable(Sequence[ShardPlan]):
    """Plans of shards, in order.

    Args:
        columns: one row a shard; see `PlanTable.of`.
        folder: kept as long as the table: the plan files in it are deleted with it.

    >>> table = PlanTable.of([ShardPlan("aaa", "bbb", "train", 7, PlanSlice("plan.arrow", 0))])
    >>> len(table), table[0].key, table.rows
    (1, 'aaa-bbb', 7)
    """

    def __init__(self, columns: pa.Table, folder: TemporaryPlanFolder | None = None) -> None:
        self.columns, self.folder = columns, folder

    @classmethod
    def of(cls, plans: Iterable[ShardPlan], folder: TemporaryPlanFolder | None = None) -> PlanTable:
        """These plans; they are taken one by one."""
        batches, held, files = [], list[ShardPlan](), dict[str, int]()
        for plan in plans:
            held.append(plan)
            if len(held) == _BATCH:
                batches.append(_batch(held, files))
                held = []
        if held:
            batches.append(_batch(held, files))
        table = pa.Table.from_batches(batches, _SCHEMA.set(4, pa.field("uri", pa.int32())))
        return cls(_with_uris(table, table["uri"], list(files)), folder)

    def __len__(self) -> int:
        return int(self.columns.num_rows)

    @overload
    def __getitem__(self, index: int) -> ShardPlan: ...
    @overload
    def __getitem__(self, index: slice) -> PlanTable: ...
    def __getitem__(self, index: int | slice) -> ShardPlan | PlanTable:
        if isinstance(index, slice):
            return self.take(np.arange(len(self))[index])
        if not -len(self) <= index < len(self):
            raise IndexError(f"plan {index} of {len(self)}")
        (row,) = self.columns.slice(index % len(self), 1).to_pylist()
        return self._plan(row)

    def __iter__(self) -> Iterator[ShardPlan]:
        for batch in self.columns.to_batches(max_chunksize=_BATCH):
            yield from map(self._plan, batch.to_pylist())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PlanTable):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<plans of {len(self)} shards, {self.rows} rows>"

    @property
    def rows(self) -> int:
        """Rows of all shards."""
        return int(self.columns["rows"].to_numpy().sum())

    @property
    def files(self) -> list[str]:
        """Uris of the plan files of these shards."""
        found: list[str] = pc.unique(self.columns["uri"].cast(pa.string())).to_pylist()
        return found

    def keys(self) -> Iterator[str]:
        """The name of each shard, in order."""
        for batch in self.columns.select(["source_key", "made_key"]).to_batches(max_chunksize=_BATCH):
            for source, made in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                yield f"{source}-{made}"

    def sources(self) -> list[str]:
        """The source key of each shard, in order."""
        found: list[str] = self.columns["source_key"].to_pylist()
        return found

    def rows_by_split(self) -> dict[str, int]:
        """Split -> its rows, in the order of the splits."""
        summed = self.columns.group_by("split", use_threads=False).aggregate([("rows", "sum")])
        return dict(zip(summed["split"].to_pylist(), summed["rows_sum"].to_pylist(), strict=True))

    def take(self, places: NDArray[np.int64]) -> PlanTable:
        """Some of the plans."""
        return PlanTable(self.columns.take(pa.array(places)).combine_chunks(), self.folder)

    def _plan(self, row: dict[str, Any]) -> ShardPlan:
        place = PlanSlice(row.pop("uri"), row.pop("batch"))
        return ShardPlan(**row, place=place, folder=self.folder)


def published_plans(plans: PlanTable, root: str) -> PlanTable:
    """The same plans with their files copied below a set's folder, where every worker finds them.

    The copies are this call's own: another build of the set deletes its files, and no others.
    """
    files = plans.files
    copies = []
    for uri in files:
        copies.append(storage.join(root, PLAN_FOLDER, f"{uuid.uuid4().hex[:16]}.arrow"))
        storage.write_bytes(copies[-1], storage.read_bytes(uri))
    codes = pc.index_in(plans.columns["uri"].cast(pa.string()), pa.array(files, pa.string()))
    return PlanTable(_with_uris(plans.columns, codes, copies))


def _batch(plans: Sequence[ShardPlan], files: dict[str, int]) -> pa.RecordBatch:
    """A batch with numbers of files, which are given to new ones."""
    columns: list[list[Any]] = [
        *([getattr(plan, name) for plan in plans] for name in ("source_key", "made_key", "split", "rows")),
        [files.setdefault(plan.place.uri, len(files)) for plan in plans],
        [plan.place.batch for plan in plans],
    ]
    kinds = [*_SCHEMA.types[:4], pa.int32(), pa.int32()]
    arrays = [pa.array(column, kind) for column, kind in zip(columns, kinds, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, names=_SCHEMA.names)


def _with_uris(table: pa.Table, codes: pa.ChunkedArray, uris: Sequence[str]) -> pa.Table:
    names = pa.array(uris, pa.string())
    chunks = [pa.DictionaryArray.from_arrays(chunk.cast(pa.int32()), names) for chunk in codes.chunks]
    return table.set_column(4, _SCHEMA.field("uri"), pa.chunked_array(chunks, _SCHEMA.field("uri").type))
