"""Labels of many samples as columns: about thirty bytes a sample in memory, whatever the number.

A `LabelTable` reads as a sequence of `SampleLabels`, which are made when one is asked for. Ids and content
hashes of a large set lie in a temporary file that is mapped. `LabelColumns` fills it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, reduce
from operator import or_
from typing import Any, Generic, TypeVar, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from reid.errors import DataError
from reid.evaluate.protocols.items import Provenance, SampleLabels
from reid.evaluate.protocols.string_codes import first_of_two, string_codes
from reid.modality import ORDER, VISUAL, Modality, Subset

Ints = npt.NDArray[Any]
"""Integers of the smallest type that holds the column."""
Mask = npt.NDArray[np.bool_]
NONE = -(2**31)
"""Stands for an unknown camera or view in a column."""
UNKNOWN = -1
"""Stands for an unknown label where labels are coded."""
CAPTURED = "captured"
Value = TypeVar("Value")


@dataclass(frozen=True, eq=False)
class Coded(Generic[Value]):
    """A column of few different values: `values[codes[i]]` is the value of row i.

    >>> column = Coded(np.array([0, 1, 0]), ["train", "test"])
    >>> column.where(lambda split: split == "test").tolist()
    [False, True, False]
    """

    codes: Ints
    values: Sequence[Value]

    def where(self, holds: Callable[[Value], bool]) -> Mask:
        """(N,) bool: whether each row's value holds; asked once a value."""
        found: Mask = np.array([holds(value) for value in self.values], bool)[self.codes]
        return found

    def take(self, rows: Ints) -> Coded[Value]:
        """The column of some rows."""
        return Coded(taken(self.codes, rows), self.values)


@dataclass(frozen=True, eq=False)
class Made:
    """The parts that were not captured or that name a source; sorted by row."""

    row: Ints  # of the table
    part: Ints  # place of the modality in ORDER; -1 - n for the caption n
    origin: Coded[str]
    source: pa.ChunkedArray  # id of the sample that it was made from, or null


@dataclass(frozen=True, eq=False)
class LabelTable(Sequence[SampleLabels]):
    """The labels of N samples by column.

    >>> from reid.evaluate.protocols.label_columns import label_table_of
    >>> row = SampleLabels("0001", "mine", 7, camid=2, images={Modality.RGB: Provenance()})
    >>> table = label_table_of([row])
    >>> len(table), table[0] == row, table.camid.tolist()
    (1, True, [2])
    """

    names: pa.ChunkedArray  # large_string: sample_id
    hashes: pa.ChunkedArray  # large_string: content_hash, or null
    contents: Ints  # (N,) int64 from 0: equal for equal content hashes; UNKNOWN for none
    dataset: Coded[str]
    split: Coded[str]
    roles: Coded[tuple[str, ...] | None]
    location: Coded[str | None]
    present: Coded[int]  # bits of the modalities, in canonical order
    captured: Coded[int]  # bits of the pictures that were captured
    pid: Ints
    camid: Ints  # NONE where unknown
    viewid: Ints  # NONE where unknown
    captions: Ints  # how many
    made: Made
    _checked: list[bool] = field(default_factory=list, repr=False)

    def __len__(self) -> int:
        return len(self.pid)

    @overload
    def __getitem__(self, row: int) -> SampleLabels: ...
    @overload
    def __getitem__(self, row: slice) -> LabelTable: ...
    def __getitem__(self, row: int | slice) -> SampleLabels | LabelTable:
        if isinstance(row, slice):
            return self.take(np.arange(len(self))[row])
        if not -len(self) <= row < len(self):
            raise IndexError(f"row {row} of {len(self)} samples")
        return self._row(row % len(self))

    def take(self, rows: Ints) -> LabelTable:
        """The table of some rows, in their order."""
        place = np.full(len(self), -1, np.int64)
        place[rows] = np.arange(len(rows))
        kept = np.flatnonzero(place[self.made.row] >= 0)
        kept = kept[np.argsort(place[self.made.row[kept]], kind="stable")]
        made = Made(
            place[self.made.row[kept]],
            self.made.part[kept],
            self.made.origin.take(kept),
            self.made.source.take(pa.array(kept)),
        )
        coded = ("dataset", "split", "roles", "location", "present", "captured")
        plain = ("contents", "pid", "camid", "viewid", "captions")
        strings = {name: getattr(self, name).take(pa.array(rows)) for name in ("names", "hashes")}
        columns = {name: getattr(self, name).take(rows) for name in coded}
        columns |= {name: taken(getattr(self, name), rows) for name in plain}
        return LabelTable(**strings, **columns, made=made)

    @property
    def modalities(self) -> Subset:
        """The modalities that any sample has, in canonical order."""
        used = np.unique(self.present.codes)
        return of_bits(reduce(or_, (self.present.values[i] for i in used.tolist()), 0))

    def having(self, subset: Iterable[Modality]) -> Mask:
        """(N,) bool: samples that have all of these modalities."""
        wanted = to_bits(subset)
        return self.present.where(lambda bits: bits & wanted == wanted)

    @cached_property
    def identity(self) -> Ints:
        """(N,) code of (dataset, pid), from 0."""
        return self.coded(self.pid, self.dataset.codes)

    @cached_property
    def camera(self) -> Ints:
        """(N,) code of (dataset, camid); UNKNOWN where the camera is unknown."""
        return self.coded(self.camid, self.dataset.codes)

    @cached_property
    def place(self) -> Ints:
        """(N,) code of (dataset, location); UNKNOWN where the location is unknown."""
        if None not in self.location.values:
            return self.coded(self.location.codes, self.dataset.codes)
        known = self.location.where(lambda value: value is not None)
        if not known.any():
            return np.broadcast_to(np.int32(UNKNOWN), len(self))
        wide = self.location.codes.astype(np.int64)  # NONE fits no smaller type
        return self.coded(np.where(known, wide, NONE), self.dataset.codes)

    def coded(self, values: Ints, dataset: Ints) -> Ints:
        """Codes from 0 of pairs of a data set (by its code) and a number; UNKNOWN where that is NONE.

        The same pair has the same code in every call.
        """
        if is_constant(values) and len(values) and values[0] == NONE:
            return np.broadcast_to(np.int32(UNKNOWN), len(values))
        count = len(self.dataset.values)
        known = values[values != NONE] if values.size and values.min() == NONE else values
        most = int(np.abs(known.astype(np.int64, copy=False)).max(initial=0))
        kind = np.int32 if (2 * most + 2) * max(count, 1) < 2**31 else np.int64
        wide = values.astype(np.int64 if values.min(initial=0) == NONE else kind, copy=False)
        codes: Ints = np.where(np.less(wide, 0), -2 * wide - 1, 2 * wide)
        if count > 1:
            codes = codes * count + dataset
        codes[values == NONE] = UNKNOWN
        return codes.astype(kind, copy=False)

    def sources(self, rows: Ints, part: Ints | int) -> Ints:
        """(n,) the sample that a part of each row was made from; UNKNOWN for none.

        Args:
            rows: (n,) rows of the table.
            part: which part, as in `Made`, one for all or for each.

        Returns:
            A row of the table; a number from N for a sample that is not in it.
        """
        key = self._made_keys
        if not len(key):
            return np.broadcast_to(np.int32(UNKNOWN), len(rows))
        wanted = rows.astype(np.int64) * _PARTS + part
        at = np.minimum(np.searchsorted(key, wanted), len(key) - 1)
        order, codes = self._made_order, self._source_codes
        return np.where(key[at] == wanted, codes[order[at]], UNKNOWN)

    def rows_of(self, names: pa.Array) -> Ints:
        """The row of each id; UNKNOWN for an id that is not in the table."""
        if not len(self):
            return np.full(len(names), UNKNOWN)
        found = pc.index_in(names.cast(pa.large_string()), value_set=self.names)
        rows: Ints = pc.fill_null(found, UNKNOWN).to_numpy(zero_copy_only=False).astype(np.int64)
        return rows

    def check_unique(self) -> None:
        """Raise DataError for a sample that is listed twice. Checked once a table."""
        if self._checked:
            return
        twice = first_of_two(self.names)
        if twice is not None:
            raise DataError(f"Two samples are called {twice!r}; sample_id must be unique.")
        self._checked.append(True)

    @cached_property
    def _made_order(self) -> Ints:
        return np.argsort(self.made.row.astype(np.int64) * _PARTS + self.made.part, kind="stable")

    @cached_property
    def _made_keys(self) -> Ints:
        keys: Ints = (self.made.row.astype(np.int64) * _PARTS + self.made.part)[self._made_order]
        return keys

    @cached_property
    def _source_codes(self) -> Ints:
        """For each made part: the row that it comes from, a number from N for others, or UNKNOWN."""
        own = pc.is_null(self.made.source).to_numpy() & self.made.origin.where(lambda o: o == "generated")
        codes = np.where(own, self.made.row, UNKNOWN).astype(np.int64)
        named = np.flatnonzero(pc.is_valid(self.made.source).to_numpy())
        if len(named):
            told = self.made.source.take(pa.array(named)).combine_chunks()
            listed = told.dictionary_encode()
            if isinstance(listed, pa.ChunkedArray):
                listed = listed.combine_chunks()
            rows = self.rows_of(listed.dictionary)
            rows = np.where(rows < 0, len(self) + np.arange(len(rows)), rows)
            codes[named] = rows[listed.indices.to_numpy(zero_copy_only=False)]
        return codes

    def _row(self, row: int) -> SampleLabels:
        first, last = np.searchsorted(self.made.row, [row, row + 1])
        made = {
            int(self.made.part[i]): Provenance(
                self.made.origin.values[self.made.origin.codes[i]], self.made.source[i].as_py()
            )
            for i in range(first, last)
        }
        bits, plain = self.present.values[self.present.codes[row]], Provenance()
        camid, viewid = int(self.camid[row]), int(self.viewid[row])
        return SampleLabels(
            sample_id=self.names[row].as_py(),
            dataset=self.dataset.values[self.dataset.codes[row]],
            pid=int(self.pid[row]),
            split=self.split.values[self.split.codes[row]],
            camid=None if camid == NONE else camid,
            viewid=None if viewid == NONE else viewid,
            roles=self.roles.values[self.roles.codes[row]],
            images={m: made.get(ORDER.index(m), plain) for m in of_bits(bits) if m in VISUAL},
            captions=tuple(made.get(-1 - n, plain) for n in range(int(self.captions[row]))),
            location=self.location.values[self.location.codes[row]],
            content_hash=self.hashes[row].as_py(),
        )


_PARTS = 2**20
"""Numbers of parts that a row has room for: captions and modalities."""


def content_codes(hashes: pa.ChunkedArray | pa.Array) -> Ints:
    """(N,) int64 from 0, equal for equal hashes, UNKNOWN for null; different ones differ but for 1 in 2^62.

    >>> codes = content_codes(pa.array(["a", None, "a"], pa.large_string()))
    >>> codes[0] == codes[2], int(codes[1])
    (np.True_, -1)
    """
    codes = (string_codes(hashes) >> np.uint64(2)).astype(np.int64)
    if hashes.null_count:
        codes[pc.is_null(hashes).to_numpy(zero_copy_only=False)] = UNKNOWN
    return codes


def taken(column: Ints, rows: Ints) -> Ints:
    """The column of some rows; without a copy where it is constant, or where the rows are all in order."""
    if is_constant(column):
        return np.broadcast_to(column.flat[0], len(rows)) if len(column) else column[rows]
    whole = len(rows) == len(column) and len(rows) and rows[0] == 0 and rows[-1] == len(rows) - 1
    if whole and bool((rows[1:] > rows[:-1]).all()):
        return column
    return column[rows]


def is_constant(column: Ints) -> bool:
    """Whether a column is one number that is read for every row."""
    return column.strides == (0,)


def to_bits(modalities: Iterable[Modality]) -> int:
    """One bit a modality, in canonical order.

    >>> to_bits([Modality.NIR, Modality.RGB])
    3
    """
    return sum(1 << ORDER.index(m) for m in set(modalities))


def of_bits(bits: int) -> Subset:
    """The modalities of these bits.

    >>> of_bits(3)
    (<Modality.RGB: 'rgb'>, <Modality.NIR: 'nir'>)
    """
    return tuple(m for place, m in enumerate(ORDER) if bits >> place & 1)
