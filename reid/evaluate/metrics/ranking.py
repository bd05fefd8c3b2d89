"""Ranks of the positives of many queries at once, and what follows from them: AP, INP, the first hit.

Items are ranked by descending similarity, equal similarities by gallery index; excluded items are removed.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from reid.evaluate.metrics.places import places, ranked


class GalleryOrder:
    """The identities of a gallery's items, and where the items of each one are."""

    def __init__(self, pid: Tensor) -> None:
        """`pid` is (G,) int64."""
        self.pid = pid
        self._sorted, self._order = pid.sort(stable=True)

    def positives(self, pid: Tensor) -> tuple[Tensor, Tensor]:
        """(row, column) of every pair of a query, of identities (Q,), and an item of its identity.

        By query, then by gallery index.

        >>> GalleryOrder(torch.tensor([7, 4, 7])).positives(torch.tensor([4, 7, 9]))
        (tensor([0, 1, 1]), tensor([1, 0, 2]))
        """
        start = torch.searchsorted(self._sorted, pid)
        count = torch.searchsorted(self._sorted, pid, right=True) - start
        row = torch.repeat_interleave(torch.arange(len(pid), device=pid.device), count)
        first = start - (count.cumsum(0) - count)
        return row, self._order[torch.arange(len(row), device=pid.device) + first[row]]


class QueryRanks(NamedTuple):
    """Results of Q queries; all tensors have shape (Q,) and lie on the CPU."""

    ap: Tensor  # float64 mean precision at the positives; NaN without any
    inp: Tensor  # float64 positives / rank of the last one; NaN without any
    first_hit: Tensor  # int64 rank of the first positive, from 1; 0 without any
    positives: Tensor  # int64 positives left in the ranking
    candidates: Tensor  # int64 items left in the ranking
    listed: Tensor | None  # int64 as first_hit, in the list of identities that have not come before


def rank(
    similarity: Tensor, q_pid: Tensor, gallery: GalleryOrder, exclude: Tensor | None, identities: bool = False
) -> QueryRanks:
    """Rank G gallery items for each of Q queries.

    Args:
        similarity: (Q, G), compared as float32; higher means more similar.
        q_pid: (Q,) int64 identities of the queries.
        gallery: the identities of the G items.
        exclude: (Q, G) bool; True removes the pair from the ranking.
        identities: also rank in the list of distinct identities, as CMC of SYSU-MM01 does.

    Returns:
        AP, INP, first hit, positives and candidates of each query; `listed` is None without `identities`.

    >>> found = rank(torch.tensor([[0.1, 0.9]]), torch.tensor([5]), GalleryOrder(torch.tensor([5, 6])), None)
    >>> found.first_hit.tolist(), found.ap.tolist(), found.candidates.tolist()
    ([2], [0.5], [2])
    """
    rows, columns = similarity.shape
    similarity = similarity.float().contiguous()
    row, column = gallery.positives(q_pid)
    exclude = None if exclude is None else exclude.contiguous()
    place, left = places(similarity, row, column, exclude)
    if exclude is not None:
        kept = (place >= 0).nonzero()[:, 0]
        row, place = row[kept], place[kept]
    count = torch.bincount(row, minlength=rows)
    end = count.cumsum(0)
    nth = torch.arange(len(row), device=row.device) - (end - count)[row]
    place = _by_rank(place, row, nth, count, columns)
    valid = count > 0
    summed = torch.zeros(rows, dtype=torch.float64, device=row.device)
    summed.index_add_(0, row, (nth + 1).double() / (place + 1))
    ap, inp = torch.full_like(summed, torch.nan), torch.full_like(summed, torch.nan)
    ap[valid] = (summed / count)[valid]
    inp[valid] = count[valid].double() / (place[end[valid] - 1] + 1)
    first = torch.zeros_like(count)
    first[valid] = place[(end - count)[valid]] + 1
    listed = None
    if identities:
        match = q_pid[:, None] == gallery.pid  # excluded ones, too: their distance is infinite
        distance = -ranked(similarity, exclude)
        listed = torch.where(valid, _among_identities(distance, match, gallery.pid), 0).cpu()
    return QueryRanks(ap.cpu(), inp.cpu(), first.cpu(), count.cpu(), left.cpu(), listed)


def _by_rank(place: Tensor, row: Tensor, nth: Tensor, count: Tensor, columns: int) -> Tensor:
    """(P,) the ranks of each query's positives in ascending order.

    `place` are below `columns`, `nth` the number of each one in its `row` and `count` (Q,) how many it has.
    """
    most = int(count.max()) if len(count) else 0
    table, at = place.new_full((len(count), most), columns, dtype=torch.int32), row * most + nth
    table.view(-1)[at] = place.int()
    if table.device.type == "cpu":
        table.numpy().sort(axis=1)  # is vectorised; torch's on the CPU is not
    else:
        table = table.sort(dim=1).values
    return table.view(-1)[at].long()


def _among_identities(distance: Tensor, match: Tensor, g_pid: Tensor) -> Tensor:
    """(Q,) rank from 1 of each query's identity by its best item among all identities' best items."""
    rows, columns = distance.shape
    known, identity = torch.unique(g_pid, return_inverse=True)  # (P,), (G,)
    best = distance.new_full((rows, len(known)), torch.inf)
    best.scatter_reduce_(1, identity.expand(rows, -1), distance, "amin")
    own = distance.masked_fill(~match, torch.inf).amin(dim=1, keepdim=True)  # (Q, 1)
    before = (best < own).sum(dim=1)
    tied = ((best == own).sum(dim=1) > 1) & torch.isfinite(own[:, 0])
    if tied.any():  # the gallery index decides: identities with as good an item at an earlier place
        equal, index = distance[tied] == own[tied], torch.arange(columns, device=distance.device)
        place = torch.where(equal & match[tied], index, columns).amin(dim=1, keepdim=True)
        earlier = torch.zeros(len(equal), len(known), device=distance.device)
        earlier.scatter_reduce_(1, identity.expand(len(equal), -1), (equal & (index < place)).float(), "amax")
        before[tied] += ((earlier > 0) & (best[tied] == own[tied])).sum(dim=1)
    return before + 1


def top_ranked(similarity: Tensor, k: int, exclude: Tensor | None = None) -> Tensor:
    """The first k gallery items of each query, in the order that the metrics use.

    Args:
        similarity: (Q, G) finite numbers; higher means more similar.
        k: number of items.
        exclude: (Q, G) bool; True removes the pair.

    Returns:
        (Q, k) int64 gallery indices; -1 where no item is left.

    >>> top_ranked(torch.tensor([[0.1, 0.9, 0.9]]), 4).tolist()
    [[1, 2, 0, -1]]
    """
    distance = -similarity.float()
    if exclude is not None:
        distance.masked_fill_(exclude, torch.inf)
    best, index = distance.sort(dim=1, stable=True)
    index = torch.where(torch.isinf(best), -1, index)[:, :k]
    return pad(index, (0, k - index.shape[1]), value=-1)
