"""Equal pictures within a set: the same capture twice, or one capture under two identities.

Every shard's statistics keep 16 bytes for each row, so the whole set is compared in bounded memory and no
picture is read again. If a picture has two identities, one of them is wrong and it is unknown which: both
rows are reported or put into quarantine.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from reid.data.shards.manifest import Shard
from reid.data.shards.schema import Sample
from reid.modality import VISUAL

STAGE = "duplicates"
_BYTES = 16
_NONE = bytes(_BYTES)
"""Of a row without a captured picture: compared with nothing."""


def digests_of(samples: Iterable[Sample]) -> str:
    """16 bytes for each row in base64: the hash of its RGB picture, else of its first captured one."""
    return base64.b64encode(b"".join(_digest(sample) for sample in samples)).decode()


def _digest(sample: Sample) -> bytes:
    for modality in VISUAL:
        image = sample.images.get(modality)
        if image is not None and image.origin == "captured":
            hashed = hashlib.blake2b(modality.value.encode(), digest_size=_BYTES)
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


def find_duplicates(shards: Sequence[Shard]) -> Duplicates:
    """Compare all rows of all shards. Shards without digests (of earlier versions) are skipped."""
    usable = [i for i, s in enumerate(shards) if len(base64.b64decode(s.digests)) == _BYTES * s.rows]
    raw = b"".join(base64.b64decode(shards[i].digests) for i in usable)
    digests = np.frombuffer(raw, dtype=np.dtype((np.void, _BYTES)))
    if len(digests) < 2:
        return Duplicates()
    halves = np.frombuffer(raw, dtype=np.uint64).reshape(-1, 2)
    order = np.lexsort((halves[:, 1], halves[:, 0]))  # stable: equal ones stay in stored order
    ordered = halves[order]
    equal = (ordered[1:] == ordered[:-1]).all(axis=1) & ordered[1:].any(axis=1)
    owners = _Owners(shards, usable)
    same = across = 0
    conflicts: list[list[tuple[int, int]]] = []
    for start, stop in _runs(equal):
        places = [owners.place(int(i)) for i in order[start:stop]]
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

    def __init__(self, shards: Sequence[Shard], usable: Sequence[int]) -> None:
        self.shards, self.usable = shards, usable
        self.starts = np.cumsum([0, *(shards[i].rows for i in usable)])

    def place(self, position: int) -> tuple[int, int]:
        """(shard, row) of a position among the digests."""
        number = int(np.searchsorted(self.starts, position, side="right")) - 1
        return self.usable[number], position - int(self.starts[number])

    def owner(self, shard: int, row: int) -> tuple[tuple[str, int], str]:
        """((dataset, pid), split)."""
        for group in self.shards[shard].row_groups:
            for dataset, pid, rows in group.identities:
                if row < rows:
                    return (dataset, pid), self.shards[shard].split
                row -= rows
        raise AssertionError("statistics count fewer rows than they index")
