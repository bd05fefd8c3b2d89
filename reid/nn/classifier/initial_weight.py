"""A classifier's initial weight, the same numbers however many ranks share its rows."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from reid.nn.classifier.placement import RowRange

BLOCK = 2**24
"""Numbers that are drawn together: 64 MiB."""
SEQUENTIAL = 2**28
"""Weights of more numbers (350 000 classes of 768) are drawn block by block from seeds of their own."""
_LANE = 16
"""torch's CPU generator fills a normal draw in lanes of so many numbers, so blocks are multiples of it."""


def draw_rows(
    rows: RowRange, dim: int, std: float, block: int = BLOCK, sequential: int = SEQUENTIAL
) -> Tensor:
    """(len(rows), dim) of the initial weight (rows.total, dim): normal with this standard deviation.

    Only the kept rows and a block of `block` numbers are in memory. Up to `sequential` numbers the weight is,
    to the bit on the CPU, what `nn.Linear` and `nn.init.normal_` draw from torch's generator, which ends
    where it does after them. A larger one takes a single draw from it, and every block has a generator seeded
    by that and its number, so that a rank draws its own blocks only.
    """
    weight = torch.empty(len(rows), dim)
    if weight.is_meta:
        return weight
    seed: int | None = None
    if rows.total * dim > sequential:
        seed = int(torch.randint(2**62, (1,), device="cpu"))
    else:
        for first, stop in _blocks(rows.total, dim, block):
            torch.empty(stop - first, dim).uniform_()  # what nn.Linear draws and normal_ overwrites
    for number, (first, stop) in enumerate(_blocks(rows.total, dim, block)):
        low, high = max(first, rows.first), min(stop, rows.stop)
        if seed is not None and low >= high:
            continue
        source = None if seed is None else torch.Generator(weight.device).manual_seed(seed + number)
        drawn = torch.empty(stop - first, dim).normal_(std=std, generator=source)
        if low < high:
            weight[low - rows.first : high - rows.first] = drawn[low - first : high - first]
    return weight


def _blocks(total: int, dim: int, numbers: int) -> Iterator[tuple[int, int]]:
    """Ranges of rows; a last one of less than a lane joins the one before."""
    size = max(1, numbers // (dim * _LANE)) * _LANE
    first = 0
    while first < total:
        stop = min(first + size, total)
        if (total - stop) * dim < _LANE:
            stop = total
        yield first, stop
        first = stop
