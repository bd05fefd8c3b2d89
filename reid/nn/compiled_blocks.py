"""torch.compile for the functions that compute one block, and what happens where it does not work."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

import torch

log = logging.getLogger(__name__)

Step = TypeVar("Step", bound=Callable[..., Any])
_COMPILABLE: set[Callable[..., Any]] = set()
_failed: list[str] = []


def compilable(step: Step) -> Step:
    """Mark a function of a block's modules and tensors that torch.compile can take as a whole.

    One compiled function serves all blocks of a shape; names of parameters stay as they are.
    """
    _COMPILABLE.add(step)
    return step


def compiled(step: Callable[..., Any]) -> Callable[..., Any]:
    """The compiled function for one that is `compilable`; any other itself.

    When compilation fails, that is told once and everything runs as it is from then on.
    """
    if _failed or step not in _COMPILABLE:
        return step

    def guarded(*inputs: Any) -> Any:
        try:
            return _compiled(step)(*inputs)
        except Exception as error:
            from torch._dynamo.exc import (
                TorchDynamoException,  # takes long to import: only where it is needed
            )

            if not isinstance(error, TorchDynamoException):
                raise
            give_up(error)
            return step(*inputs)

    return guarded


def give_up(error: Exception) -> str:
    """From now on nothing is compiled; tells it, with the reason in one line, and returns that line."""
    reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    line = f"train.compute.compile: blocks run uncompiled, torch.compile failed ({reason.strip()})"
    if not _failed:
        log.warning("%s", line)
    _failed.append(line)
    return line


@cache
def _compiled(step: Callable[..., Any]) -> Callable[..., Any]:
    return torch.compile(step)


def try_compiler(device: torch.device) -> str | None:
    """Compile and run a small function and its gradient; the line of `give_up` if that fails."""

    def small(x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.gelu(x @ x.T).sum()

    try:
        x = torch.ones(8, 8, device=device, requires_grad=True)
        torch.compile(small)(x).backward()
    except Exception as error:  # a missing compiler shows in many ways
        return give_up(error)
    return None
