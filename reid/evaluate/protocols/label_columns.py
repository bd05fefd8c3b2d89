"""Fills a `LabelTable` from the tables of shards, or from labels that are at hand, part by part."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any, Generic, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reid.evaluate.protocols.items import Provenance, SampleLabels
from reid.evaluate.protocols.label_table import (
    CAPTURED,
    NONE,
    Coded,
    Ints,
    LabelTable,
    Made,
    content_codes,
    is_constant,
)
from reid.modality import ORDER, VISUAL, Modality

SPILL = 64 * 2**20
"""Bytes of ids and content hashes that are held in memory; more lie in a temporary file."""
CHUNK = 65536
"""Labels that are turned into columns together."""
_STRINGS = pa.schema([("sample_id", pa.large_string()), ("content_hash", pa.large_string())])
_PART = pa.struct([("origin", pa.string()), ("source_id", pa.string())])
_SCHEMA = pa.schema(
    [
        ("sample_id", pa.string()),
        ("dataset", pa.string()),
        ("split", pa.string()),
        ("pid", pa.int64()),
        ("roles", pa.list_(pa.string())),
        ("camid", pa.int64()),
        ("viewid", pa.int64()),
        ("location", pa.string()),
        ("content_hash", pa.string()),
        *((m.value, _PART) for m in VISUAL),
        ("captions", pa.list_(_PART)),
    ]
)
"""What `add` reads of a table of samples."""
_BETWEEN = "\x1f"
Value = TypeVar("Value")


def label_table_of(labels: Iterable[SampleLabels]) -> LabelTable:
    """The table of these labels; a table is returned as it is.

    >>> label_table_of([SampleLabels("0001", "mine", 7)]).pid.tolist()
    [7]
    """
    if isinstance(labels, LabelTable):
        return labels
    columns = LabelColumns()
    columns.add_labels(labels)
    return columns.table()


class LabelColumns:
    """Takes labels in any number of parts; `table` joins them."""

    def __init__(self) -> None:
        self._strings = _Strings()
        self._coders: dict[str, _Coder[Any]] = {
            "dataset": _Coder(),
            "split": _Coder(),
            "roles": _Coder(lambda joined: None if joined is None else _split(joined)),
            "location": _Coder(),
            "present": _Coder(),
            "captured": _Coder(),
            "origin": _Coder(),
        }
        names = ("pid", "camid", "viewid", "captions", "contents", "made", "part")
        self._plain: dict[str, list[Ints]] = {name: [] for name in names}
        self._sources: list[pa.Array] = []
        self._count = 0

    def add_labels(self, labels: Iterable[SampleLabels]) -> None:
        """Add labels, some at a time."""
        stream = iter(labels)
        while chunk := list(islice(stream, CHUNK)):
            self.add(pa.Table.from_pylist([_listed(row) for row in chunk], schema=_SCHEMA))

    def add(self, samples: pa.Table) -> None:
        """Add a table of samples as shards hold them; pictures and other columns need not be there."""
        count = samples.num_rows
        if not count:
            return
        names, hashes = (_column(samples, n).cast(pa.large_string()) for n in _STRINGS.names)
        self._strings.add(names, hashes)
        self._plain["contents"].append(_compact(content_codes(hashes)))
        for name in ("dataset", "split", "location"):
            self._coders[name].add(_column(samples, name))
        self._coders["roles"].add(pc.binary_join(_column(samples, "roles"), _BETWEEN))
        for name in ("pid", "camid", "viewid"):
            column = _column(samples, name).cast(pa.int64())
            self._plain[name].append(_compact(pc.fill_null(column, NONE).to_numpy(zero_copy_only=False)))
        present, captured = np.zeros(count, np.int64), np.zeros(count, np.int64)
        for modality in VISUAL:
            column = _column(samples, modality.value)
            there = pc.is_valid(column).to_numpy(zero_copy_only=False)
            origin, source = (pc.struct_field(column, n) for n in ("origin", "source_id"))
            bit = 1 << ORDER.index(modality)
            present |= np.where(there, bit, 0)
            taken = pc.fill_null(pc.equal(origin, CAPTURED), False).to_numpy(zero_copy_only=False)
            captured |= np.where(there & taken, bit, 0)
            rows = np.flatnonzero(there & ~(taken & pc.is_null(source).to_numpy(zero_copy_only=False)))
            self._add_made(rows, rows, np.full(len(rows), ORDER.index(modality)), origin, source)
        captions = _column(samples, "captions")
        number = pc.fill_null(pc.list_value_length(captions), 0).to_numpy(zero_copy_only=False)
        present |= np.where(number > 0, 1 << ORDER.index(Modality.TEXT), 0)
        self._plain["captions"].append(_compact(number.astype(np.int64)))
        listed = pc.list_flatten(captions)
        origin, source = (pc.struct_field(listed, n) for n in ("origin", "source_id"))
        plain = pc.and_(pc.fill_null(pc.equal(origin, CAPTURED), False), pc.is_null(source))
        which = np.flatnonzero(~plain.to_numpy(zero_copy_only=False))
        of = np.repeat(np.arange(count), number)
        nth = np.arange(len(of)) - np.repeat(np.cumsum(number) - number, number)
        self._add_made(which, of[which], -1 - nth[which], origin, source)
        self._coders["present"].add(pa.array(present))
        self._coders["captured"].add(pa.array(captured))
        self._count += count

    def table(self) -> LabelTable:
        """The labels of all parts, in their order."""
        plain: dict[str, Any] = {name: _joined(parts) for name, parts in self._plain.items()}
        coded: dict[str, Any] = {name: coder.column() for name, coder in self._coders.items()}
        order = np.argsort(plain["made"], kind="stable")
        source = pa.chunked_array(self._sources, pa.large_string()).take(pa.array(order))
        made = Made(
            plain.pop("made")[order], plain.pop("part")[order], coded.pop("origin").take(order), source
        )
        names, hashes = self._strings.columns()
        return LabelTable(names=names, hashes=hashes, made=made, **coded, **plain)

    def _add_made(self, which: Ints, rows: Ints, parts: Ints, origin: pa.Array, source: pa.Array) -> None:
        """`which` are places in `origin` and `source`; `rows` and `parts` tell what they are of."""
        if not len(which):
            return
        chosen = pa.array(which)
        self._plain["made"].append(rows + self._count)
        self._plain["part"].append(parts.astype(np.int32))
        self._coders["origin"].add(origin.take(chosen))
        self._sources.append(source.take(chosen).cast(pa.large_string()))


class _Coder(Generic[Value]):
    """Numbers the different values of a column over all its parts."""

    def __init__(self, read: Callable[[Any], Value] = lambda value: value) -> None:
        self._read, self._of = read, dict[Any, int]()
        self._parts: list[Ints] = []

    def add(self, column: pa.Array) -> None:
        """Add a part."""
        coded = pc.dictionary_encode(column, null_encoding="encode")
        codes = [self._of.setdefault(value, len(self._of)) for value in coded.dictionary.to_pylist()]
        local = coded.indices.to_numpy(zero_copy_only=False)
        self._parts.append(_compact(np.array(codes, np.int64)[local]))

    def column(self) -> Coded[Value]:
        """All parts as one column."""
        return Coded(_joined(self._parts), [self._read(value) for value in self._of])


class _Strings:
    """Ids and content hashes in memory, or, when they are many, in a temporary file that is mapped."""

    def __init__(self) -> None:
        self._held: list[pa.RecordBatch] = []
        self._size = 0
        self._file: Any = None
        self._writer: pa.ipc.RecordBatchFileWriter | None = None

    def add(self, names: pa.Array, hashes: pa.Array) -> None:
        """Add a part."""
        batch = pa.record_batch([names, hashes], schema=_STRINGS)
        self._held.append(batch)
        self._size += batch.nbytes
        if self._size > SPILL:
            if self._writer is None:
                self._file = tempfile.NamedTemporaryFile(suffix=".arrow")  # noqa: SIM115 gone with the map
                self._writer = pa.ipc.new_file(self._file.name, _STRINGS)
            for one in self._held:
                self._writer.write_batch(one)
            self._held, self._size = [], 0

    def columns(self) -> tuple[pa.ChunkedArray, pa.ChunkedArray]:
        """Both columns."""
        batches = self._held
        if self._writer is not None:
            for one in self._held:
                self._writer.write_batch(one)
            self._writer.close()
            reader = pa.ipc.open_file(pa.memory_map(self._file.name))
            batches = [reader.get_batch(i) for i in range(reader.num_record_batches)]
            self._file.close()  # the map keeps its content
        names, hashes = (
            pa.chunked_array([batch[i] for batch in batches], pa.large_string()) for i in range(2)
        )
        return names, hashes


def _listed(row: SampleLabels) -> dict[str, Any]:
    """A sample as a row of the schema."""
    names = ("sample_id", "dataset", "split", "pid", "camid", "viewid", "location", "content_hash")
    return {
        **{name: getattr(row, name) for name in names},
        "roles": None if row.roles is None else list(row.roles),
        **{m.value: _part(came) for m, came in (row.images or {}).items()},
        "captions": [_part(came) for came in row.captions],
    }


def _part(came: Provenance) -> dict[str, str | None]:
    return {"origin": came.origin, "source_id": came.source_id}


def _column(table: pa.Table, name: str) -> pa.Array:
    """A column in one piece; nulls where the table does not have it."""
    if name not in table.column_names:
        return pa.nulls(table.num_rows, _SCHEMA.field(name).type)
    column = table[name].combine_chunks()
    return pa.concat_arrays(column.chunks) if isinstance(column, pa.ChunkedArray) else column


def _split(joined: str) -> tuple[str, ...]:
    return tuple(joined.split(_BETWEEN)) if joined else ()


def _compact(values: Ints) -> Ints:
    """The same numbers in the smallest type, constant ones once."""
    low, high = (int(values.min()), int(values.max())) if len(values) else (0, 0)
    fits = (t for t in (np.int8, np.int16, np.int32) if np.iinfo(t).min <= low and high <= np.iinfo(t).max)
    kind = next(fits, np.int64)
    return np.broadcast_to(kind(low), len(values)) if low == high else values.astype(kind)


def _joined(parts: Sequence[Ints]) -> Ints:
    """All parts as one column, constant ones still once."""
    if not parts:
        return np.zeros(0, np.int32)
    first = parts[0]
    if all(is_constant(p) and p[0] == first[0] for p in parts):
        kind = np.result_type(*(p.dtype for p in parts))
        return np.broadcast_to(kind.type(first[0]), sum(map(len, parts)))
    return np.concatenate(parts)
