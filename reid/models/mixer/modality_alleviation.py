"""Modality alleviation (MPANet, CVPR 2021, §3.2; used by SAAI, whose trunk MixER is built on)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class ModalityAlleviation(nn.Module):
    """Maps (b, C, h, w) -> the same shape: instance normalisation where a gate finds modality in a channel.

    The gate is of each image's channel means; c x + (1 - c) InstanceNorm(x). Acts on every image alone.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        inner = max(1, channels // reduction)
        self.squeeze = nn.Linear(channels, inner, bias=False)
        self.excite = nn.Linear(inner, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Without images, none."""
        gate = self.excite(F.relu(self.squeeze(x.mean((2, 3))))).sigmoid()[:, :, None, None]
        normed = F.instance_norm(x) if x.shape[2] * x.shape[3] > 1 and len(x) else 0 * x
        out: Tensor = gate * x + (1 - gate) * normed
        return out
