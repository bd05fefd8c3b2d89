"""Captures of identities by their modalities, in patterns: identities with equal captures share one entry.

What a sampler makes of an identity follows from its captures alone, so that everything is worked out once a
pattern, of which there are few, and not once an identity.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reid.data.shards.identity_list import Identity, IdentityList
from reid.data.shards.identity_table import Counts, IdentityTable
from reid.data.shards.schema import Sample
from reid.modality import Subset

_BLOCK = 2**18


class IdentityCaptures(Mapping[Identity, Counts]):
    """Identity -> captures by the modalities that they have.

    Args:
        identities: distinct and sorted.
        patterns: the captures that occur.
        pattern: (n,) the pattern of each identity.

    >>> from reid.modality import Modality
    >>> found = IdentityCaptures.of({("a", 1): {(Modality.RGB,): 2}, ("a", 2): {(Modality.RGB,): 2}})
    >>> len(found), found["a", 2], len(found.patterns)
    (2, {(<Modality.RGB: 'rgb'>,): 2}, 1)
    """

    def __init__(
        self, identities: IdentityList, patterns: Sequence[Counts], pattern: NDArray[np.int32]
    ) -> None:
        self.identities, self.patterns, self.pattern = identities, list(patterns), pattern

    @classmethod
    def of(cls, captures: Mapping[Identity, Counts]) -> IdentityCaptures:
        """The same mapping in patterns."""
        if isinstance(captures, IdentityCaptures):
            return captures
        who = sorted(captures)
        known: dict[tuple[tuple[Subset, int], ...], int] = {}
        pattern = [known.setdefault(tuple(captures[one].items()), len(known)) for one in who]
        return cls(IdentityList.of(who), [dict(key) for key in known], np.array(pattern, np.int32))

    @classmethod
    def of_table(cls, table: IdentityTable) -> IdentityCaptures:
        """The identities of a table; those in several row groups have the captures of all of them."""
        identities = table.identities()
        order = identities.order
        code, pid = (c if order is None else c[order] for c in (table.dataset, table.pid))
        first = np.ones(len(pid), bool)
        first[1:] = (pid[1:] != pid[:-1]) | (code[1:] != code[:-1])
        if not first.all():
            begin = np.flatnonzero(first)
            dense = table.dense_counts(0, len(table))
            dense = np.add.reduceat(dense if order is None else dense[order], begin, axis=0)
            patterns, pattern = _patterns([dense], table.subsets)
            return cls(IdentityList(table.datasets, code[begin], pid[begin]), patterns, pattern)
        patterns, pattern = entry_patterns(table)
        sorted_ = IdentityList(table.datasets, code, pid)
        return cls(sorted_, patterns, pattern if order is None else pattern[order])

    def __len__(self) -> int:
        return len(self.identities)

    def __iter__(self) -> Iterator[Identity]:
        return iter(self.identities)

    def __getitem__(self, identity: Identity) -> Counts:
        try:
            return self.patterns[int(self.pattern[self.identities.index(identity)])]
        except ValueError:
            raise KeyError(identity) from None

    def where(self, chosen: NDArray[np.bool_]) -> IdentityCaptures:
        """The identities where a mask (n,) is true."""
        return IdentityCaptures(self.identities.take(chosen), self.patterns, self.pattern[chosen])

    @cached_property
    def used(self) -> list[tuple[Counts, int, int]]:
        """(captures, how many identities have them, position of the first) for each pattern, by the first."""
        return used_patterns(self.patterns, self.pattern)


def used_patterns(patterns: Sequence[Counts], pattern: NDArray[np.int32]) -> list[tuple[Counts, int, int]]:
    """(captures, how many positions have them, the first one) of each pattern that occurs, by the first."""
    found, first, sizes = np.unique(pattern, return_index=True, return_counts=True)
    listed = zip(found.tolist(), first.tolist(), sizes.tolist(), strict=True)
    return [(patterns[code], size, at) for code, at, size in sorted(listed, key=lambda one: one[1])]


def entry_patterns(table: IdentityTable) -> tuple[list[Counts], NDArray[np.int32]]:
    """The captures that occur in a table, and (n,) which of them each entry has."""
    spans = ((start, min(start + _BLOCK, len(table))) for start in range(0, len(table), _BLOCK))
    return _patterns((table.dense_counts(*span) for span in spans), table.subsets)


def counted_from_rows(table: IdentityTable, rows: Iterable[Sample]) -> IdentityTable:
    """The table with captures by modality for entries of which it tells none, counted from the rows."""
    found: dict[Identity, Counter[Subset]] = defaultdict(Counter)
    for sample in rows:
        found[sample.identity][sample.modalities] += 1
    subsets = list(dict.fromkeys([*table.subsets, *(s for counts in found.values() for s in counts)]))
    codes = {subset: code for code, subset in enumerate(subsets)}
    told = table.told.tolist()
    flat: list[tuple[int, int]] = []
    starts = [0]
    for entry, identity in enumerate(table.identities()):
        counts: Counts = table.count_of(entry) if told[entry] else found.get(identity, {})
        flat += [(codes[subset], n) for subset, n in counts.items()]
        starts.append(len(flat))
    columns = np.array(flat, np.int64).reshape(-1, 2)
    return replace(
        table,
        subsets=tuple(subsets),
        starts=np.array(starts, np.int64),
        subset=columns[:, 0].astype(np.int16),
        counts=columns[:, 1].astype(np.int32),
    )


def _patterns(
    blocks: Iterable[NDArray[np.int32]], subsets: Sequence[Subset]
) -> tuple[list[Counts], NDArray[np.int32]]:
    """Distinct rows of blocks (b, subsets) of captures, and the one of each row."""
    known: dict[bytes, int] = {}
    patterns: list[Counts] = []
    parts = []
    for dense in blocks:
        distinct, inverse = _distinct_rows(dense)
        codes = np.zeros(len(distinct), np.int32)
        for place, row in enumerate(distinct):
            key = row.tobytes()
            if key not in known:
                known[key] = len(patterns)
                patterns.append({subsets[i]: n for i, n in enumerate(row.tolist()) if n})
            codes[place] = known[key]
        parts.append(codes[inverse])
    return patterns, np.concatenate(parts) if parts else np.zeros(0, np.int32)


def _distinct_rows(dense: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[Any]]:
    """The distinct rows, and which of them each row is; rows are sorted by a hash, which is checked."""
    weights = np.random.default_rng(0).integers(1, 2**63, dense.shape[1], dtype=np.int64)
    with np.errstate(over="ignore"):
        hashed = dense.astype(np.int64) @ weights
    _, first, inverse = np.unique(hashed, return_index=True, return_inverse=True)
    distinct = dense[first]
    if np.array_equal(distinct[inverse], dense):
        return distinct, inverse
    rows, places = np.unique(dense, axis=0, return_inverse=True)  # two different rows had one hash
    return rows, places.ravel()
