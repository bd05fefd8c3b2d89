"""Batch statistics over all ranks: gather rows with gradient, so that many GPUs compute what one computes.

With losses computed on gathered rows, every rank has the same loss. The backward pass of `gather_rows` sums
the ranks' gradients and DDP averages those of the parameters; together this is the gradient of one process on
the joined batch.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from reid.errors import AnyReIDError

T = TypeVar("T")


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


def statistics_are_local() -> bool:
    """Whether `local_statistics()` is active."""
    return _LOCAL.get()


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
    ends. The numbers of rows are exchanged in main memory: no rank waits for its device.
    """
    if world_size() == 1 or _LOCAL.get():
        return x
    sizes = _sizes(x.shape[0])
    most = max(sizes)
    if most == 0:
        return x
    if x.shape[0] < most:
        padding = x.new_zeros((most - x.shape[0], *x.shape[1:]))
        x = torch.cat([x, padding])
    gathered: Tensor = _AllGather.apply(x) if x.is_floating_point() else _gather_plain(x)
    return _without_padding(gathered, sizes)


def gather_host_rows(x: Tensor) -> Tensor:
    """The same for labels in main memory, without gradient: what a step's shapes follow from on every rank.

    >>> gather_host_rows(torch.tensor([True, False]))
    tensor([ True, False])
    """
    if world_size() == 1 or _LOCAL.get():
        return x
    sizes = _sizes(x.shape[0])
    padded = torch.cat([x, x.new_zeros((max(sizes) - x.shape[0], *x.shape[1:]))])
    parts = [torch.empty_like(padded) for _ in sizes]
    dist.all_gather(parts, padded.contiguous(), group=_host_group())
    return _without_padding(torch.cat(parts), sizes)


def _sizes(rows: int) -> list[int]:
    """How many rows every rank has."""
    counts = [torch.zeros(1, dtype=torch.int64) for _ in range(world_size())]
    dist.all_gather(counts, torch.tensor([rows]), group=_host_group())
    return [int(count) for count in counts]


def _without_padding(rows: Tensor, sizes: Sequence[int]) -> Tensor:
    """Rows of all ranks, each padded to the largest of `sizes`, without the padding."""
    most = max(sizes)
    if min(sizes) == most:
        return rows
    return torch.cat([rows[r * most : r * most + n] for r, n in enumerate(sizes)])


_host: tuple[Any, Any] = (None, None)
"""A default process group, and the one of main memory beside it."""


def _host_group() -> Any:
    """A group of all ranks that takes tensors of main memory: the default one, unless it is NCCL's.

    Made at its first use, which all ranks reach together, as every call of this module is a collective one.
    """
    global _host
    if dist.get_backend() != "nccl":
        return None
    if _host[0] is not dist.group.WORLD:
        _host = dist.group.WORLD, dist.new_group(backend="gloo")
    return _host[1]


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


def of_rank_zero(make: Callable[[], T], device: torch.device) -> T:
    """What `make` returns on rank 0, on every rank; an error of the product is raised on every rank.

    Args:
        make: called on rank 0 only.
        device: where collectives of this process group take place.

    >>> of_rank_zero(lambda: 7, torch.device("cpu"))
    7
    """
    if world_size() == 1:
        return make()
    found: list[Any] = [None, None]
    if rank() == 0:
        try:
            found[0] = make()
        except AnyReIDError as error:
            found[1] = error
    dist.broadcast_object_list(found, src=0, device=device)
    if found[1] is not None:
        raise found[1]
    value: T = found[0]
    return value
