"""Statistics and losses are computed in full precision."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import Tensor


def full_precision(x: Tensor) -> Tensor:
    """`x` in float32; float64 stays, because tests compare ranks in it."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def without_autocast(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Within it, what is computed on the device keeps the type of its inputs.

    On torch's "meta" device, where shapes are computed without numbers, there is no autocast.
    """
    if device.type == "meta":
        return contextlib.nullcontext()
    return torch.autocast(device.type, enabled=False)
