"""Plans one pass over the data: which identities are drawn at each step, from counts alone.

A rank passes over the row groups assigned to it, or over all its identities at once. Whole identities stay in
a bounded reservoir until all their chunks are drawn. Nothing is read here, so a resumed epoch replays its
steps immediately.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from reid.data.batches.row_group_index import GroupIdentity

Choose = Callable[[NDArray[np.int64], int, np.random.Generator], list[int]]
"""(chunks left of everybody in the reservoir, how many, generator) -> distinct places."""


class EpochPlan:
    """The steps of a pass. `arrivals` are row groups with their identities, in order."""

    def __init__(
        self,
        arrivals: Iterator[tuple[int, Sequence[GroupIdentity]]],
        size: int,
        bound: int,
        choose: Choose,
        rng: np.random.Generator,
    ) -> None:
        self.size, self.bound, self.rng = size, bound, rng
        self.held = 0
        """Rows in the reservoir."""
        self._arrivals, self._choose, self._exhausted = arrivals, choose, False
        self._count = 0
        self._table = np.zeros((4, 64), np.int64)  # label, chunks left, rows, group
        self._fresh: list[int] = []

    def step(self) -> list[tuple[int, int]] | None:
        """(label, chunk) of each drawn identity; None when fewer than `size` identities are left."""
        self._fill()
        if self._count < self.size:
            return None
        left = self._table[1]
        chosen = self._choose(left[: self._count], self.size, self.rng)
        left[chosen] -= 1
        drawn = list(zip(self._table[0, chosen].tolist(), left[chosen].tolist(), strict=True))
        for place in sorted((i for i in chosen if left[i] == 0), reverse=True):
            self._remove(place)
        return drawn

    def arrived(self) -> list[int]:
        """The row groups that entered the reservoir since the last call, in order, exhausted ones too."""
        fresh, self._fresh = self._fresh, []
        return fresh

    def live(self) -> dict[int, int]:
        """Label -> row group of every identity in the reservoir."""
        labels, _, _, groups = self._table[:, : self._count].tolist()
        return dict(zip(labels, groups, strict=True))

    def _fill(self) -> None:
        while not self._exhausted and (self.held < self.bound or self._count < self.size):
            arrival = next(self._arrivals, None)
            if arrival is None:
                self._exhausted = True
                return
            group, entries = arrival
            self._fresh.append(group)
            for entry in entries:
                if self._count == self._table.shape[1]:
                    self._table = np.concatenate([self._table, np.zeros_like(self._table)], axis=1)
                self._table[:, self._count] = entry.label, entry.chunks, entry.rows, group
                self._count += 1
                self.held += entry.rows

    def _remove(self, place: int) -> None:
        self._count -= 1
        self.held -= int(self._table[2, place])
        self._table[:, place] = self._table[:, self._count]


def assign(chunks: Sequence[int], world: int, rank: int, rng: np.random.Generator) -> list[int]:
    """A rank's share of the shuffled row groups.

    In each round every rank gets one group; the largest goes to the rank with the fewest chunks so far.
    """
    order = rng.permutation(len(chunks)).tolist()
    if world == 1:
        return [int(group) for group in order]
    held, mine = [0] * world, []
    for start in range(0, len(order), world):
        groups = sorted(order[start : start + world], key=lambda i: -chunks[i])
        for group, player in zip(groups, sorted(range(world), key=held.__getitem__), strict=False):
            held[player] += chunks[group]
            if player == rank:
                mine.append(group)
    return mine
