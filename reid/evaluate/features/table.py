"""Vectors by key in a few large arrays: keys are found by binary search, vectors are read where they lie.

The arrays may be memory-mapped files, so that a table costs 32 bytes of memory a vector, whatever its size.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import cast

import numpy as np
import numpy.typing as npt

from reid.errors import DataError
from reid.evaluate.several_samples import pooled, ranges

Vector = npt.NDArray[np.float32]
Vectors = npt.NDArray[np.float32]
Keys = npt.NDArray[np.uint64]
"""(N, 2): the first and last 16 hex digits of each key."""
Ints = npt.NDArray[np.int64]

DIGITS = 32


def key_codes(keys: Iterable[str]) -> Keys:
    """Keys as numbers.

    Args:
        keys: N keys of 32 hex digits each, as `parts_key` makes them.

    Returns:
        (N, 2) uint64.

    Raises DataError for anything else.

    >>> key_codes(["0" * 31 + "7", "f" * 32]).tolist()
    [[0, 7], [18446744073709551615, 18446744073709551615]]
    """
    listed = list(keys)
    if any(len(key) != DIGITS for key in listed):
        raise DataError(f"A key of a vector has {DIGITS} hex digits.")
    try:
        packed = bytes.fromhex("".join(listed))
    except ValueError:
        raise DataError(f"A key of a vector has {DIGITS} hex digits.") from None
    return np.frombuffer(packed, ">u8").astype(np.uint64).reshape(-1, 2)


class FeatureTable(Mapping[str, Vector]):
    """Vectors of one dimension by key; of a key that comes twice the first one counts.

    As a mapping it serves single keys; `find` and `take` serve many at once without a Python object a row.

    >>> table = FeatureTable([(key_codes(["0" * 32, "f" * 32]), np.eye(2, dtype=np.float32))])
    >>> rows = table.find(key_codes(["f" * 32, "a" * 32]))
    >>> rows.tolist(), table.take(rows[:1]).tolist(), len(table)
    ([1, -1], [[0.0, 1.0]], 2)
    """

    def __init__(self, blocks: Sequence[tuple[Keys, Vectors]] = (), files: Sequence[str] = ()) -> None:
        """Join blocks of (n, 2) keys and their (n, dim) vectors. Raises DataError if dimensions differ.

        `files` name what the blocks were read from, in order: rows of two tables with the same files are the
        same.
        """
        self.files = tuple(files)
        blocks = [(keys, vectors) for keys, vectors in blocks if len(keys)]
        dims = sorted({vectors.shape[1] for _, vectors in blocks})
        if len(dims) > 1:
            raise DataError(f"Vectors of {' and '.join(map(str, dims))} numbers do not belong together.")
        self.dim = dims[0] if dims else 0
        self._blocks = [vectors for _, vectors in blocks]
        self._starts = np.cumsum([0, *(len(v) for v in self._blocks)])
        keys = np.concatenate([np.zeros((0, 2), np.uint64), *(keys for keys, _ in blocks)])
        order = np.lexsort((keys[:, 1], keys[:, 0]))  # stable: the first of equal keys stays first
        high, low = keys[order, 0], keys[order, 1]
        new = np.ones(len(order), bool)
        new[1:] = (high[1:] != high[:-1]) | (low[1:] != low[:-1])
        self._high, self._low, self._row = high[new], low[new], order[new]

    def __len__(self) -> int:
        return len(self._row)

    def __iter__(self) -> Iterator[str]:
        for high, low in zip(self._high.tolist(), self._low.tolist(), strict=True):
            yield f"{high:016x}{low:016x}"

    def __getitem__(self, key: str) -> Vector:
        row = self.find(key_codes([key]))
        if row[0] < 0:
            raise KeyError(key)
        return cast(Vector, self.take(row)[0])

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and len(key) == DIGITS and bool(self.find(key_codes([key]))[0] >= 0)

    def __repr__(self) -> str:
        return f"<FeatureTable: {len(self)} vectors of {self.dim} in {len(self._blocks)} blocks>"

    def find(self, keys: Keys) -> Ints:
        """The rows of (n, 2) keys, for `take`: (n,) int64, -1 where a key is unknown."""
        found = np.full(len(keys), -1, np.int64)
        if not len(self):
            return found
        place = np.searchsorted(self._high, keys[:, 0])
        open_ = np.arange(len(keys))
        while len(open_):  # more than once only where two keys have their first 16 digits in common
            inside = place[open_] < len(self._high)
            open_ = open_[inside]
            at = place[open_]
            alike = self._high[at] == keys[open_, 0]
            open_, at = open_[alike], at[alike]
            hit = self._low[at] == keys[open_, 1]
            found[open_[hit]] = self._row[at[hit]]
            open_ = open_[~hit]
            place[open_] += 1
        return found

    def take(self, rows: Ints) -> Vectors:
        """(n, dim) float32 vectors of n rows, copied. Raises DataError for a negative row."""
        if len(rows) and rows.min() < 0:
            raise DataError("A vector is missing; embed again.")
        found = np.empty((len(rows), self.dim), np.float32)
        block = np.searchsorted(self._starts, rows, side="right") - 1
        for number, vectors in enumerate(self._blocks):
            mine = np.flatnonzero(block == number)
            found[mine] = vectors[rows[mine] - self._starts[number]]
        return found


class FeatureRows:
    """Some vectors of a table in an order of their own, (n, dim); read when they are asked for.

    With `starts` a vector is the one of several rows, as `several_samples.pooled` makes it.

    >>> table = FeatureTable([(key_codes(["0" * 32, "f" * 32]), np.array([[0, 0], [1, 1]], np.float32))])
    >>> rows = FeatureRows(table, np.array([1, 0]))
    >>> rows.shape, rows[slice(0, 1)].array().tolist()
    ((2, 2), [[1.0, 1.0]])
    """

    def __init__(self, table: FeatureTable, rows: Ints, starts: Ints | None = None) -> None:
        """Take (V,) rows of the table: n vectors, each of one row, or of those from its (n + 1,) start on."""
        self.table, self.rows, self.starts = table, rows, starts

    def __len__(self) -> int:
        return len(self.rows if self.starts is None else self.starts[1:])

    def __getitem__(self, rows: slice | Ints) -> FeatureRows:
        if self.starts is None:
            return FeatureRows(self.table, self.rows[rows])
        places, starts = ranges(self.starts, np.arange(len(self))[rows])
        return FeatureRows(self.table, self.rows[places], starts)

    @property
    def shape(self) -> tuple[int, int]:
        """(n, dim)."""
        return len(self), self.table.dim

    def array(self) -> Vectors:
        """All of them at once: (n, dim) float32."""
        found = self.table.take(self.rows)
        return found if self.starts is None else pooled(found, self.starts)
