"""How an encoder's blocks are run in training: activations kept or computed again, rows together or in parts.

The arithmetic and the gradients are the same. `run_blocks` sets the way for all towers within it; outside it,
and without gradients, blocks are simply called.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from reid.nn.compiled_blocks import compiled
from reid.nn.distributed import local_statistics, statistics_are_local

Result = TypeVar("Result")


@dataclass(frozen=True)
class BlockRun:
    """The way.

    Args:
        recompute: keep only the inputs of blocks for the backward pass, and compute the blocks again there.
        parts: encode the rows of a batch in so many parts, each computed again in the backward pass, so that
            one part's activations are held at a time. Only for encoders that treat rows independently.
        compiles: use torch.compile for blocks that `reid.nn.compiled_blocks` knows.
    """

    recompute: bool = False
    parts: int = 1
    compiles: bool = False


_PLAIN = BlockRun()
_WAY: ContextVar[BlockRun] = ContextVar("block_run", default=_PLAIN)
_AGAIN: ContextVar[bool] = ContextVar("computed_again", default=False)


@contextlib.contextmanager
def run_blocks(way: BlockRun) -> Iterator[None]:
    """Within this context, encoders with gradients run their blocks this way.

    >>> weight = torch.ones(3, requires_grad=True)
    >>> with run_blocks(BlockRun(recompute=True)):
    ...     run_block_step(lambda x: (x * weight).sin(), torch.zeros(2, 3)).sum().backward()
    >>> weight.grad
    tensor([0., 0., 0.])
    """
    token = _WAY.set(way)
    try:
        yield
    finally:
        _WAY.reset(token)


def computed_again() -> bool:
    """Whether this is the second run of a block, for its gradient: running statistics have been updated."""
    return _AGAIN.get()


def run_block_step(step: Callable[..., Result], *inputs: Any) -> Result:
    """`step(*inputs)`: one block or stage, computed again in the backward pass if the way says so."""
    way = _WAY.get()
    if way.compiles and torch.is_grad_enabled():
        step = compiled(step)
    if not (way.recompute and torch.is_grad_enabled()):
        return step(*inputs)
    return _recomputed(step, *inputs)


def in_parts(encode: Callable[..., Tensor], *rows: Tensor) -> Tensor:
    """`encode(*rows)`, of rows that do not depend on each other: (b, ...) each -> (b, ...), in parts of b."""
    parts = min(_WAY.get().parts, len(rows[0]))
    if parts <= 1 or not torch.is_grad_enabled():
        return encode(*rows)
    each = zip(*(x.tensor_split(parts) for x in rows), strict=True)
    return torch.cat([_recomputed(encode, *part) for part in each])


def _recomputed(step: Callable[..., Result], *inputs: Any) -> Result:
    """Random numbers, autocast and what this module and `reid.nn.distributed` set are as in the first run."""
    way, local = _WAY.get(), statistics_are_local()

    @contextlib.contextmanager
    def again() -> Iterator[None]:  # a backward pass on a GPU runs in another thread: it inherits no context
        token = _AGAIN.set(True)
        try:
            with run_blocks(way), local_statistics() if local else contextlib.nullcontext():
                yield
        finally:
            _AGAIN.reset(token)

    result: Result = checkpoint(
        step, *inputs, use_reentrant=False, context_fn=lambda: (contextlib.nullcontext(), again())
    )
    return result
