"""Half precision stops where statistics and losses begin."""

from __future__ import annotations

import torch
from torch import Tensor


def full_precision(x: Tensor) -> Tensor:
    """`x` in float32, or as it is in float64, in which tests compare ranks: rounding hides nothing there."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
