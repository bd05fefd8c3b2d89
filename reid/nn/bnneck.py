"""BNNeck head (Luo et al. 2019): triplet sees the feature before BN, the classifier the one after."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class BNNeck(nn.Module):
    """Feature (B, dim) -> logits (B, classes) through a batch norm without bias and a bias-free classifier.

    Pass the rows of all ranks (`gather_rows`): then its statistics are global without SyncBatchNorm.
    """

    def __init__(self, dim: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(dim)
        self.norm.bias.requires_grad_(False)
        self.classifier = nn.Linear(dim, classes, bias=False)
        nn.init.normal_(self.classifier.weight, std=0.001)

    def forward(self, features: Tensor) -> Tensor:
        """Logits in float32, under autocast too."""
        with torch.autocast(features.device.type, enabled=False):
            logits: Tensor = self.classifier(self.norm(features.float()))
        return logits
