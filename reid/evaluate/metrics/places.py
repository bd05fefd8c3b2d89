"""Places of the positives of many queries in their rankings, without an argsort.

Plain values are sorted and the positives looked up in them, which is several times cheaper than sorting
indices. On the CPU every thread takes some queries through all stages, a cache-sized block at a time: NumPy's
sort is vectorised and torch's on the CPU is not, and nothing as large as the similarities is copied.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

BLOCK = 2**18
"""Values that a thread copies, sorts and searches at a time: few enough to stay in a core's cache."""
FEW = 2**20
"""Comparisons that are made at a time to break ties."""
MANY = 16
"""Ties of a query, on average, above which it is sorted again instead."""


def places(similarity: Tensor, row: Tensor, column: Tensor, exclude: Tensor | None) -> tuple[Tensor, Tensor]:
    """The rank of each positive among the items of its query that are not excluded.

    Args:
        similarity: (Q, G) float32, contiguous, finite; higher ranks first, equal ones by gallery index.
        row: (P,) int64 the query of each positive, ascending.
        column: (P,) int64 its gallery index.
        exclude: (Q, G) bool; True removes the pair.

    Returns:
        (P,) int64 ranks from 0, -1 for a positive that is excluded, and (Q,) int64 how many items a query has
        left.

    >>> similarity = torch.tensor([[0.5, 0.9, 0.5]])
    >>> places(similarity, torch.tensor([0, 0]), torch.tensor([0, 2]), None)
    (tensor([1, 2]), tensor([3]))
    """
    find = _higher if similarity.device.type == "cpu" else _higher_on_device
    higher, tied, left = find(similarity, row, column, exclude)
    ties = tied.nonzero()[:, 0]
    if len(ties):
        higher[ties] = _among_equals(similarity, row[ties], column[ties], exclude, higher[ties])
    return higher, left


def _higher(
    similarity: Tensor, row: Tensor, column: Tensor, exclude: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """(P,) how many items of its query are higher than a positive, -1 if it is excluded; (P,) whether another
    item equals it; and (Q,) how many items are left."""
    rows, columns = similarity.shape
    higher, tied = np.full(len(row), -1), np.zeros(len(row), np.bool_)
    left = np.full(rows, columns)
    values, removed = similarity.numpy(), None if exclude is None else exclude.numpy()
    query, item = row.numpy(), column.numpy()
    step = max(BLOCK // max(columns, 1), 1)

    def work(first: int, last: int) -> None:
        scratch = np.empty((min(step, last - first), columns), np.float32)
        for start in range(first, last, step):
            here = slice(start, min(start + step, last))
            block, ordered = values[here], scratch[: here.stop - start]
            np.copyto(ordered, block)
            begin, end = np.searchsorted(query, (here.start, here.stop))
            own: slice | npt.NDArray[np.int64] = slice(begin, end)
            line = (query[own] - start) * columns  # where the row of each positive begins
            at = line + item[own]
            if removed is not None:
                out = np.flatnonzero(removed[here])
                ordered.reshape(-1)[out] = -np.inf
                left[here] -= np.diff(np.searchsorted(out, np.arange(len(block) + 1) * columns))
                kept = np.flatnonzero(ordered.reshape(-1).take(at) != -np.inf)
                own, line, at = begin + kept, line[kept], at[kept]
            wanted = block.reshape(-1).take(at)
            ordered.sort(axis=1)
            upto, tied[own] = _search(ordered, line, wanted)
            higher[own] = columns - upto

    threads = max(min(torch.get_num_threads(), -(-rows // step)), 1)
    bounds = [rows * n // threads for n in range(threads + 1)]
    if threads == 1:
        work(0, rows)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, bounds[:-1], bounds[1:]))
    return torch.from_numpy(higher), torch.from_numpy(tied), torch.from_numpy(left)


def _search(
    ordered: npt.NDArray[np.float32], line: npt.NDArray[np.int64], wanted: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """(P,) how many values are not higher than a wanted one, which is among them; (P,) whether it is twice.

    `ordered` is (q, G) ascending, `line` where the row of each wanted value begins in it, flat. A binary
    search of all at once, which rows of one length allow: NumPy has it for a single row only.
    """
    flat, length = ordered.reshape(-1), ordered.shape[1]
    at, step = line.copy(), np.empty_like(line)  # the values before `at` are not higher
    while length:
        half = (length + 1) // 2
        np.multiply(flat[half - 1 :].take(at, mode="clip") <= wanted, half, out=step)
        at += step
        length -= half
    upto = at - line
    return upto, (flat.take(np.maximum(at - 2, 0)) == wanted) & (upto > 1)


def _higher_on_device(
    similarity: Tensor, row: Tensor, column: Tensor, exclude: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """As `_higher`, all queries at once."""
    rows, columns = similarity.shape
    count = torch.bincount(row, minlength=rows)
    nth = torch.arange(len(row), device=row.device) - (count.cumsum(0) - count)[row]
    wanted = similarity.new_full((rows, int(count.max()) if rows else 0), torch.inf)
    wanted[row, nth] = similarity[row, column]
    ordered = ranked(similarity, exclude).sort().values
    upto = torch.searchsorted(ordered, wanted, right=True)
    tied = (ordered.gather(1, (upto - 2).clamp(min=0)) == wanted) & (upto > 1)
    higher, tied = columns - upto[row, nth], tied[row, nth]
    if exclude is None:
        return higher, tied, torch.full_like(count, columns)
    out = exclude[row, column]
    return higher.masked_fill(out, -1), tied & ~out, columns - exclude.sum(dim=1)


def _among_equals(
    similarity: Tensor, row: Tensor, column: Tensor, exclude: Tensor | None, higher: Tensor
) -> Tensor:
    """(T,) the ranks of tied positives, of which it is known how many items are `higher`."""
    own, number = torch.unique_consecutive(row, return_inverse=True)
    if len(row) > MANY * len(own):
        values = ranked(similarity[own], None if exclude is None else exclude[own])
        return values.argsort(dim=1, stable=True, descending=True).argsort(dim=1)[number, column]
    place, step = higher.clone(), max(FEW // similarity.shape[1], 1)
    for start in range(0, len(row), step):
        at, item = row[start : start + step], column[start : start + step]
        tie, index = (similarity[at] == similarity[at, item][:, None]).nonzero(as_tuple=True)
        before = index < item[tie]
        if exclude is not None:
            before &= ~exclude[at[tie], index]
        place[start : start + step] += torch.bincount(tie[before], minlength=len(at))
    return place


def ranked(similarity: Tensor, exclude: Tensor | None) -> Tensor:
    """The similarities (Q, G) with -inf for excluded pairs; themselves, not a copy, without exclusions.

    >>> ranked(torch.tensor([[0.5, 0.9]]), torch.tensor([[False, True]]))
    tensor([[0.5000,   -inf]])
    """
    return similarity if exclude is None else similarity.masked_fill(exclude, -torch.inf)
