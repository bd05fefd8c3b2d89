"""Batch statistics over all ranks: gather rows with gradient, so that many GPUs compute what one computes.

With losses computed on gathered rows, every rank has the same loss. The backward pass of `gather_rows` sums
the ranks' gradients and DDP averages those of the parameters; together this is the gradient of one process on
the joined batch.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    """Number of ranks; 1 outside a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """This process's rank; 0 outside a process group."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


_LOCAL: ContextVar[bool] = ContextVar("local_statistics", default=False)


@contextlib.contextmanager
def local_statistics() -> Iterator[None]:
    """Within this context `gather_rows` gathers nothing: every rank's losses see its own rows only."""
    token = _LOCAL.set(True)
    try:
        yield
    finally:
        _LOCAL.reset(token)


def shares_statistics() -> bool:
    """Whether there are other ranks, and `local_statistics()` does not keep them apart."""
    return world_size() > 1 and not _LOCAL.get()


class _AllGather(torch.autograd.Function):
    """all_gather of equally shaped tensors; the backward all-reduces and keeps this rank's slice."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # (n, ...) -> (world * n, ...)
        parts = [torch.empty_like(x) for _ in range(world_size())]
        dist.all_gather(parts, x.contiguous())
        ctx.rows = x.shape[0]
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        grad = grads[0].contiguous()
        dist.all_reduce(grad)
        start = rank() * ctx.rows
        return grad[start : start + ctx.rows]


def gather_rows(x: Tensor) -> Tensor:
    """Concatenate the rows of all ranks, which may differ in number, in rank order and with gradient.

    Outside a process group, or within `local_statistics()`, returns `x` itself. A rank without rows must call
    it, too: its empty `x` must require a gradient if those of other ranks do, or the backward pass never
    ends.
    """
    if world_size() == 1 or _LOCAL.get():
        return x
    counts = [torch.zeros(1, dtype=torch.int64, device=x.device) for _ in range(world_size())]
    dist.all_gather(counts, torch.tensor([x.shape[0]], device=x.device))
    sizes = [int(c) for c in counts]
    most = max(sizes)
    if most == 0:
        return x
    if x.shape[0] < most:
        padding = x.new_zeros((most - x.shape[0], *x.shape[1:]))
        x = torch.cat([x, padding])
    gathered: Tensor = _AllGather.apply(x) if x.is_floating_point() else _gather_plain(x)
    if min(sizes) == most:
        return gathered
    return torch.cat([gathered[r * most : r * most + n] for r, n in enumerate(sizes)])


def _gather_plain(x: Tensor) -> Tensor:
    parts = [torch.empty_like(x) for _ in range(world_size())]
    dist.all_gather(parts, x.contiguous())
    return torch.cat(parts)


class _AllReduce(torch.autograd.Function):
    """Sum over ranks, forwards and backwards."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        grad = grads[0].clone()
        dist.all_reduce(grad)
        return grad


def sum_over_ranks(x: Tensor) -> Tensor:
    """Sum a tensor of equal shape over all ranks, with gradient like `gather_rows`.

    Outside a process group, or within `local_statistics()`, returns `x` itself.
    """
    if world_size() == 1 or _LOCAL.get():
        return x
    total: Tensor = _AllReduce.apply(x)
    return total
