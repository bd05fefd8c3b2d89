"""Records on disk, in any order in and sorted out: a plan of any size in the memory of a part of it.

Records are appended to a file with the columns that order them. Then they are divided by identity into parts
that are small enough to be sorted in memory, and read part by part. Sorting moves columns; records are made
from their texts a shard at a time, when they are asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reid.data.labels import tidy
from reid.data.readers.base import Record
from reid.data.shards.schema import SPLITS, Labels
from reid.dataset.planning.record_text import packed, unpacked
from reid.dataset.planning.spool_index import SpoolIndex

_BATCH = 16_384
_PART = 500_000
"""Records that are sorted in memory."""
_COLUMNS = pa.schema(
    [
        ("split", pa.int32()),
        ("dataset", pa.int32()),
        ("pid", pa.int64()),
        ("camid", pa.int64()),
        ("sample", pa.binary()),
        ("name", pa.uint64()),
        ("record", pa.binary()),
    ]
)
_IDENTITY = ("split", "dataset", "pid")
_ORDER = [(name, "ascending") for name in (*_IDENTITY, "camid", "sample")]
_Row = tuple[int, int, int, int, bytes, int, bytes]
_PACKED = pa.ipc.IpcWriteOptions(compression="lz4")
_64_BITS = 2**64 - 1


def sort_key(labels: Labels) -> tuple[int, str, str, int, int, str]:
    """Split, identity, camera, sample: the order of rows in a set. Unknown splits come last, by name."""
    known = labels.split in SPLITS
    split = SPLITS.index(labels.split) if known else len(SPLITS)
    camid = -1 if labels.camid is None else labels.camid
    return split, "" if known else labels.split, labels.dataset, labels.pid, camid, labels.sample_id


@dataclass(frozen=True)
class SpooledShard:
    """Records of whole identities of one split, in order."""

    split: str
    texts: pa.BinaryArray
    """Of each record, as `packed` gives it."""

    def __len__(self) -> int:
        return len(self.texts)

    def records(self) -> list[Record]:
        """The records, made anew by each call."""
        return [unpacked(text) for text in self.texts.to_pylist()]


class RecordSpool:
    """Records in a folder; add all of them, then go through `shards` once.

    Args:
        folder: where the files are made; they are the caller's to delete.
        part: records that are sorted in memory at a time.
    """

    def __init__(self, folder: str | Path, part: int = _PART) -> None:
        self.folder, self.part = Path(folder), part
        self.rows = 0
        self.masks = False
        """Whether a record names a mask."""
        self._splits = {name: code for code, name in enumerate(SPLITS)}
        self._datasets: dict[str, int] = {}
        self._index = SpoolIndex()
        self._writer: pa.ipc.RecordBatchStreamWriter | None = None

    def add(self, records: Iterable[Record]) -> None:
        """Append records."""
        batch: list[_Row] = []
        for record in records:
            labels = record.labels
            self.masks = self.masks or bool(record.mask)
            split, dataset = self._codes(labels.split, labels.dataset)
            camid = -1 if labels.camid is None else labels.camid
            sample = labels.sample_id.encode("utf-8", "surrogatepass")  # its bytes sort as its letters
            batch.append((split, dataset, labels.pid, camid, sample, _name(labels.sample_id), packed(record)))
            if len(batch) == _BATCH:
                self._write_rows(batch)
                batch = []
        if batch:
            self._write_rows(batch)

    def add_columns(
        self, split: str, dataset: str, pid: pa.Array, camid: pa.Array, sample: pa.Array, texts: pa.Array
    ) -> None:
        """Append records of one split and data set that are columns already; none has a mask.

        Args:
            split: of all of them.
            dataset: likewise.
            pid: (n,) int64.
            camid: (n,) int64; -1: unknown.
            sample: (n,) ids.
            texts: (n,) binary: the records with these labels, as `packed` gives them.
        """
        names = np.fromiter(map(_name, sample.to_pylist()), np.uint64, len(sample))
        codes = (pa.array(np.full(len(sample), code, np.int32)) for code in self._codes(split, dataset))
        columns = [*codes, pid, camid, sample.cast(pa.binary()), pa.array(names), texts]
        self._write(pa.RecordBatch.from_arrays(columns, schema=_COLUMNS))

    def shards(self, rows: int) -> Iterator[SpooledShard]:
        """All records, sorted by `sort_key`, in shards of about `rows`; an identity is never split.

        A sample id that occurred before is marked as a problem.
        """
        names, held, count, split = _by_rank(self._splits), list[pa.BinaryArray](), 0, -1
        for part in self._parts():
            start = stop = 0  # the records of this part that belong to the shard
            for own, size in zip(part.splits, part.sizes, strict=True):
                if count and (own != split or count + size > rows):
                    yield SpooledShard(names[split], pa.concat_arrays([*held, part.texts(start, stop)]))
                    held, count, start = [], 0, stop
                split, count, stop = own, count + size, stop + size
            held.append(part.texts(start, stop))
        if count:
            yield SpooledShard(names[split], pa.concat_arrays(held))

    def _codes(self, split: str, dataset: str) -> tuple[int, int]:
        """Numbers of a split and a data set, in the order in which they come."""
        return (
            self._splits.setdefault(split, len(self._splits)),
            self._datasets.setdefault(dataset, len(self._datasets)),
        )

    def _write_rows(self, batch: list[_Row]) -> None:
        columns = zip(zip(*batch, strict=True), _COLUMNS, strict=True)
        arrays = [pa.array(column, field.type) for column, field in columns]
        self._write(pa.RecordBatch.from_arrays(arrays, schema=_COLUMNS))

    def _write(self, batch: pa.RecordBatch) -> None:
        if self._writer is None:
            self._writer = _writer(self.folder / "records.arrow")
        self._writer.write_batch(batch)
        self.rows += batch.num_rows
        self._index.add(*(batch[name] for name in (*_IDENTITY, "name")))

    def _parts(self) -> Iterator[_SortedPart]:
        if self._writer is None:
            return
        self._writer.close()
        bounds = self._index.bounds(_ranks(self._splits), _ranks(self._datasets), self.part)
        if len(bounds) == 1:
            yield _SortedPart(self._marked())
            return
        paths = [self.folder / f"part-{number}.arrow" for number in range(len(bounds))]
        writers = [_writer(path) for path in paths]
        for batch in self._marked():
            part = bounds.part_of(*(batch[name].to_numpy() for name in _IDENTITY))
            for number in np.unique(part).tolist():
                writers[number].write_batch(batch.take(pa.array(np.flatnonzero(part == number))))
        for writer in writers:
            writer.close()
        (self.folder / "records.arrow").unlink()  # else the disk holds everything twice
        for path in paths:
            yield _SortedPart(_batches(path))
            path.unlink()

    def _marked(self) -> Iterator[pa.RecordBatch]:
        """The batches as they came, with splits and data sets by rank and repeated samples marked."""
        repeated, seen = self._index.repeated(), set[str]()
        ranks = {"split": _ranks(self._splits), "dataset": _ranks(self._datasets)}
        for batch in _batches(self.folder / "records.arrow"):
            for name, own in ranks.items():
                batch = batch.set_column(_COLUMNS.get_field_index(name), name, own.take(batch[name]))
            if len(repeated):
                doubtful = np.flatnonzero(np.isin(batch["name"].to_numpy(), repeated))
                batch = _with_marks(batch, doubtful.tolist(), seen) if len(doubtful) else batch
            yield batch


class _SortedPart:
    """Records that are sorted in memory: the split and the size of each identity, and their texts."""

    def __init__(self, batches: Iterable[pa.RecordBatch]) -> None:
        table = pa.Table.from_batches(batches, _COLUMNS)
        order = pc.sort_indices(table, sort_keys=_ORDER)  # stable
        keys = [table[name].take(order).to_numpy() for name in _IDENTITY]
        new = np.any([np.diff(key, prepend=key[0] - 1) != 0 for key in keys], axis=0)
        first = np.flatnonzero(new)
        self.splits: list[int] = keys[0][first].tolist()
        self.sizes: list[int] = np.diff(first, append=len(order)).tolist()
        self._order, self._texts = order, table["record"].combine_chunks()

    def texts(self, start: int, stop: int) -> pa.BinaryArray:
        """Those of some records in order."""
        taken = self._texts.take(self._order.slice(start, stop - start))
        return taken.combine_chunks() if isinstance(taken, pa.ChunkedArray) else taken


def _by_rank(codes: dict[str, int]) -> list[str]:
    """Names in order: splits as everywhere, then others, and data sets, by name."""
    known = [name for name in SPLITS if name in codes]
    return [*known, *sorted(codes.keys() - set(known))]


def _ranks(codes: dict[str, int]) -> pa.Array:
    """The rank of each name, where they were numbered as they came."""
    ordered = {name: rank for rank, name in enumerate(_by_rank(codes))}
    return pa.array([ordered[name] for name in codes], pa.int32())


def _name(sample: str) -> int:
    """Within a process only, and no more than a hint: equal hashes are compared by name."""
    return hash(tidy(sample)) & _64_BITS


def _writer(path: Path) -> pa.ipc.RecordBatchStreamWriter:
    return pa.ipc.new_stream(str(path), _COLUMNS, options=_PACKED)


def _batches(path: Path) -> Iterator[pa.RecordBatch]:
    with pa.OSFile(str(path)) as source, pa.ipc.open_stream(source) as reader:
        yield from reader


def _with_marks(batch: pa.RecordBatch, doubtful: list[int], seen: set[str]) -> pa.RecordBatch:
    texts = batch["record"].to_pylist()
    for place in doubtful:
        texts[place] = packed(_mark(unpacked(texts[place]), seen))
    return batch.set_column(batch.schema.get_field_index("record"), "record", pa.array(texts, pa.binary()))


def _mark(record: Record, seen: set[str]) -> Record:
    name = tidy(record.labels.sample_id)  # as the gallery will call it
    again = name in seen
    seen.add(name)
    if not again or record.problem is not None:
        return record
    problem = f"sample id {record.labels.sample_id!r} occurs more than once; make ids unique."
    return replace(record, problem=problem)
