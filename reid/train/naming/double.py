"""Computing in float64 what is written for float32, so that machines agree on many digits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


class _Doubled(TorchFunctionMode):
    """Every step to float32 becomes one to float64."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.Tensor.float:
            func = torch.Tensor.double
        doubled = {name: _dtype(value) for name, value in (kwargs or {}).items()}
        return func(*(_dtype(value) for value in args), **doubled)


def _dtype(value: Any) -> Any:
    return torch.float64 if value is torch.float32 else value


@contextmanager
def in_float64(seed: int) -> Iterator[None]:
    """Within it new tensors are float64, and torch's generator starts at `seed`; both are restored after it.

    >>> with in_float64(1):
    ...     torch.ones(2).float().dtype
    torch.float64
    """
    before = torch.get_default_dtype()
    with torch.random.fork_rng(devices=[]), _Doubled():
        torch.manual_seed(seed)
        torch.set_default_dtype(torch.float64)
        try:
            yield
        finally:
            torch.set_default_dtype(before)
