"""Counts the operations for whose result a GPU would have to be waited for."""

from __future__ import annotations

import traceback
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

_READS = ("_local_scalar_dense", "nonzero", "masked_select", "_unique2", "equal")


class HostReads(TorchDispatchMode):
    """Within it, `seen` lists where a number, or a shape that hangs on numbers, was asked of a tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = func.__name__.partition(".")[0]
        masks = name in ("index", "index_put", "index_put_") and any(
            isinstance(t, torch.Tensor) and t.dtype == torch.bool for t in args[1]
        )
        if masks or name in _READS:
            places = [f for f in traceback.extract_stack() if "/reid/" in f.filename]
            self.seen.append(f"{name} at {places[-1].filename}:{places[-1].lineno}" if places else name)
        return func(*args, **(kwargs or {}))
