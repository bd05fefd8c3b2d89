"""Ranks of the positives of many queries at once, without a loop over queries and mostly without an argsort.

Items are ranked by descending similarity, equal similarities by gallery index; excluded items are removed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

FEW = 2**20
"""Comparisons that are made to break ties before sorting again is cheaper."""


class QueryRanks(NamedTuple):
    """Results of Q queries; all tensors have shape (Q,) and lie on the CPU."""

    ap: Tensor  # float64 mean precision at the positives; NaN without any
    inp: Tensor  # float64 positives / rank of the last one; NaN without any
    first_hit: Tensor  # int64 rank of the first positive, from 1; 0 without any
    positives: Tensor  # int64 positives left in the ranking
    candidates: Tensor  # int64 items left in the ranking
    listed: Tensor | None  # int64 as first_hit, in the list of identities that have not come before


def rank(
    similarity: Tensor, q_pid: Tensor, g_pid: Tensor, exclude: Tensor | None, identities: bool = False
) -> QueryRanks:
    """Rank G gallery items for each of Q queries.

    Args:
        similarity: (Q, G), compared as float32; higher means more similar.
        q_pid: (Q,) int64 identities of the queries.
        g_pid: (G,) int64 identities of the gallery items.
        exclude: (Q, G) bool; True removes the pair from the ranking.
        identities: also rank in the list of distinct identities, as CMC of SYSU-MM01 does.

    Returns:
        AP, INP, first hit, positives and candidates of each query; `listed` is None without `identities`.

    >>> found = rank(torch.tensor([[0.1, 0.9]]), torch.tensor([5]), torch.tensor([5, 6]), None)
    >>> found.first_hit.tolist(), found.ap.tolist(), found.candidates.tolist()
    ([2], [0.5], [2])
    """
    rows = len(similarity)
    distance = -similarity.float()
    match = q_pid[:, None] == g_pid[None, :]
    if exclude is not None:
        distance.masked_fill_(exclude, torch.inf)
        match &= ~exclude
    row, nth, place, left = _places(distance, match)
    count = torch.bincount(row, minlength=rows)
    valid, end = count > 0, count.cumsum(0)
    summed = torch.zeros(rows, dtype=torch.float64, device=row.device)
    summed.index_add_(0, row, (nth + 1).double() / (place + 1))
    ap, inp = torch.full_like(summed, torch.nan), torch.full_like(summed, torch.nan)
    ap[valid] = (summed / count)[valid]
    inp[valid] = count[valid].double() / (place[end[valid] - 1] + 1)
    first = torch.zeros_like(count)
    first[valid] = place[(end - count)[valid]] + 1
    listed = None
    if identities:
        listed = torch.where(valid, _among_identities(distance, match, g_pid), 0).cpu()
    return QueryRanks(ap.cpu(), inp.cpu(), first.cpu(), count.cpu(), left.cpu(), listed)


def _places(distance: Tensor, match: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """For every positive, by query, then rank: its query, its number there, its rank (from 0).

    Last, for every query: how many items are left, those at a finite distance.

    Sorting plain values and looking the positives up in them is several times cheaper than an
    argsort. It cannot break ties: a few tied positives are counted out, many take the stable argsort.
    """
    rows, columns = distance.shape
    row, column = match.nonzero(as_tuple=True)
    count = torch.bincount(row, minlength=rows)
    nth = torch.arange(len(row), device=row.device) - (count.cumsum(0) - count)[row]
    value = distance[row, column]
    wanted = distance.new_full((rows, int(count.max())), torch.inf)
    wanted[row, nth] = value
    ordered = _sorted(distance)
    place = torch.searchsorted(ordered, wanted)[row, nth]
    left = torch.searchsorted(ordered, ordered.new_full((rows, 1), torch.inf))[:, 0]
    after = (place + 1).clamp(max=columns - 1)
    tied = ((after > place) & (ordered[row, after] == value)).nonzero()[:, 0]
    if len(tied) * columns <= FEW:
        index = torch.arange(columns, device=row.device)
        as_good = distance[row[tied]] == value[tied, None]
        place[tied] += (as_good & (index < column[tied, None])).sum(dim=1)
    else:
        again = torch.zeros(rows, dtype=torch.bool, device=row.device)
        again[row[tied]] = True
        order = distance[again].argsort(dim=1, stable=True)
        place[again[row]] = match[again].gather(1, order).nonzero()[:, 1]
    offset = row * columns
    return row, nth, _sorted(place + offset) - offset, left


def _sorted(values: Tensor) -> Tensor:
    """Ascending along the last dimension. NumPy's sort is vectorised, torch's on the CPU is not."""
    if values.device.type == "cpu":
        return torch.from_numpy(np.sort(values.numpy()))
    return values.sort().values


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
