"""Structural similarity of pictures (Wang et al., IEEE Transactions on Image Processing, 2004, III-B)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

WINDOW, SIGMA = 11, 1.5
_C1, _C2 = 0.01**2, 0.03**2


def ssim(first: Tensor, second: Tensor) -> Tensor:
    """Mean similarity of (B, C, H, W) pictures in [0, 1]; 1 for equal ones. float32.

    The Gaussian window is 11 x 11, or as large as a smaller picture allows.
    """
    first, second = first.float(), second.float()
    channels, height, width = first.shape[1:]
    size = min(WINDOW, height, width)
    size -= 1 - size % 2
    window = _window(size, first.device).expand(channels, 1, size, size)

    def mean(x: Tensor) -> Tensor:
        return F.conv2d(x, window, groups=channels)

    m1, m2 = mean(first), mean(second)
    v1 = mean(first * first) - m1 * m1
    v2 = mean(second * second) - m2 * m2
    both = mean(first * second) - m1 * m2
    top = (2 * m1 * m2 + _C1) * (2 * both + _C2)
    return (top / ((m1 * m1 + m2 * m2 + _C1) * (v1 + v2 + _C2))).mean()


def _window(size: int, device: torch.device) -> Tensor:
    steps = torch.arange(size, dtype=torch.float32, device=device) - size // 2
    line = torch.exp(-(steps**2) / (2 * SIGMA**2))
    line = line / line.sum()
    return line[:, None] * line[None, :]
