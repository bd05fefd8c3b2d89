"""Statistics and losses are computed in full precision."""

from __future__ import annotations

import torch
from torch import Tensor


def full_precision(x: Tensor) -> Tensor:
    """`x` in float32; float64 stays, because tests compare ranks in it."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
