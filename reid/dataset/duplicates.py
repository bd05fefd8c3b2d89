"""Equal pictures within a set: the same capture twice, or one capture under two identities.

Every shard's statistics keep 16 bytes for each row, so the whole set is compared part by part and no
picture is read again. If a picture has two identities, one of them is wrong and it is unknown which: both
rows are reported or put into quarantine.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from reid.data.shards.schema import Sample
from reid.data.shards.shard_table import ShardTable
from reid.dataset.built_shards import DIGEST, CollectedShards, DigestFile
from reid.modality import VISUAL

STAGE = "duplicates"
_PART = 8_000_000
_NONE = bytes(DIGEST)
"""Of a row without a captured picture: compared with nothing."""


def digests_of(samples: Iterable[Sample]) -> str:
    """16 bytes for each row in base64: the hash of its RGB picture, else of its first captured one."""
    return base64.b64encode(b"".join(_digest(sample) for sample in samples)).decode()


def _digest(sample: Sample) -> bytes:
    for modality in VISUAL:
        image = sample.images.get(modality)
        if image is not None and image.origin == "captured":
            hashed = hashlib.blake2b(modality.value.encode(), digest_size=DIGEST)
            hashed.update(image.image)
            return hashed.digest()
    return _NONE


@dataclass(frozen=True)
class Duplicates:
    """The equal pictures of a set."""

    same_identity: int = 0
    """Rows whose picture another row of the identity and split has, the first of them not counted."""
    across_splits: int = 0
    """Identities that have one picture in two splits, by picture: what is tested was seen in training."""
    conflicts: list[list[tuple[int, int]]] = field(default_factory=list)
    """Pictures of several identities: the (shard, row) of each, in stored order."""

    def counts(self) -> dict[str, int]:
        """For the manifest."""
        return {
            "same_identity": self.same_identity,
            "across_splits": self.across_splits,
            "conflicts": len(self.conflicts),
            "conflicting_rows": sum(map(len, self.conflicts)),
        }

    def conflicting(self) -> dict[int, list[int]]:
        """Shard -> its conflicting rows, in order."""
        found: dict[int, list[int]] = {}
        for places in self.conflicts:
            for shard, row in places:
                found.setdefault(shard, []).append(row)
        return {shard: sorted(rows) for shard, rows in sorted(found.items())}


def find_duplicates(built: CollectedShards, part: int = _PART) -> Duplicates:
    """Compare all rows of all shards, about `part` at a time.

    Shards without digests (of earlier versions) are skipped.
    """
    digests = built.digests
    total = int(digests.rows[digests.usable].sum())
    owners = _Owners(built.table, digests.usable)
    found = Duplicates()
    passes = max(1, -(-total // part))
    bounds = [2**64 * number // passes for number in range(passes)] + [2**64]
    for low, high in pairwise(bounds):
        halves, positions = _between(digests, low, high - 1)
        found = _with_equal(found, halves, positions, owners)
    return found


def _between(
    digests: DigestFile, low: int, high: int
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """(n, 2) the digests whose first half is in a range, and which rows they are of."""
    halves, positions, start = [np.zeros((0, 2), np.uint64)], [np.zeros(0, np.int64)], 0
    for block in digests.blocks():
        inside = np.flatnonzero((block[:, 0] >= np.uint64(low)) & (block[:, 0] <= np.uint64(high)))
        halves.append(block[inside])
        positions.append(inside + start)
        start += len(block)
    return np.concatenate(halves), np.concatenate(positions)


def _with_equal(
    found: Duplicates, halves: npt.NDArray[np.uint64], positions: npt.NDArray[np.int64], owners: _Owners
) -> Duplicates:
    if len(halves) < 2:
        return found
    order = np.lexsort((halves[:, 1], halves[:, 0]))  # stable: equal ones stay in stored order
    ordered = halves[order]
    equal = (ordered[1:] == ordered[:-1]).all(axis=1) & ordered[1:].any(axis=1)
    same, across, conflicts = found.same_identity, found.across_splits, list(found.conflicts)
    for start, stop in _runs(equal):
        places = [owners.place(int(positions[i])) for i in order[start:stop]]
        whose = [owners.owner(shard, row) for shard, row in places]
        identities = {identity for identity, _ in whose}
        if len(identities) > 1:
            conflicts.append(places)
        same += len(whose) - len(set(whose))
        across += len(set(whose)) > len(identities)
    return Duplicates(same, across, conflicts)


def _runs(equal: npt.NDArray[np.bool_]) -> Iterable[tuple[int, int]]:
    """(start, stop) of neighbours that are all equal."""
    edges = np.diff(np.concatenate([[0], equal.astype(np.int8), [0]]))
    return zip(np.flatnonzero(edges == 1).tolist(), (np.flatnonzero(edges == -1) + 1).tolist(), strict=True)


class _Owners:
    """Whose row a position is: found by the row groups' index, only for rows that have an equal."""

    def __init__(self, shards: ShardTable, usable: npt.NDArray[np.int64]) -> None:
        self.table, self.usable = shards.identities, usable
        self.starts = np.concatenate([[0], np.cumsum(shards.numbers("rows")[usable])])
        self.first, self.entries = shards.numbers("first"), shards.numbers("entries")
        self.splits = shards.column("split")

    def place(self, position: int) -> tuple[int, int]:
        """(shard, row) of a position among the digests."""
        number = int(np.searchsorted(self.starts, position, side="right")) - 1
        return int(self.usable[number]), position - int(self.starts[number])

    def owner(self, shard: int, row: int) -> tuple[tuple[str, int], str]:
        """((dataset, pid), split)."""
        first = int(self.first[shard])
        rows = self.table.rows[first : first + int(self.entries[shard])]
        entry = first + int(np.searchsorted(np.cumsum(rows), row, side="right"))
        return self.table.identities()[entry], self.splits[shard]
