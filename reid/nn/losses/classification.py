"""Identity classification."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from reid.nn.precision import full_precision


def smoothed_cross_entropy(logits: Tensor, labels: Tensor, smoothing: float = 0.1) -> Tensor:
    """Cross-entropy against (1-e) one-hot + e/C, mean over the batch. logits (B, C), labels (B,)."""
    return F.cross_entropy(full_precision(logits), labels, label_smoothing=smoothing)
