"""BNNeck head (Luo et al. 2019): triplet sees the feature before BN, the classifier the one after."""

from __future__ import annotations

from torch import Tensor, nn

from reid.nn.classifier.layer import Classifier
from reid.nn.precision import full_precision, without_autocast


class BNNeck(nn.Module):
    """Feature (B, dim) -> identity loss or logits: a batch norm without bias, and a bias-free classifier.

    Pass the rows of all ranks (`gather_rows`): then its statistics are global without SyncBatchNorm, and its
    classes may be split over the ranks.
    """

    def __init__(self, dim: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(dim)
        self.norm.bias.requires_grad_(False)
        self.classifier = Classifier(dim, classes)

    def forward(self, features: Tensor) -> Tensor:
        """Logits in float32, under autocast too, of the classes that this rank has."""
        logits: Tensor = self.classifier(self._normed(features))
        return logits

    def loss(self, features: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
        """Classification loss of features (B, dim) with labels (B,), a scalar in float32."""
        return self.classifier.loss(self._normed(features), labels, smoothing)

    def _normed(self, features: Tensor) -> Tensor:
        with without_autocast(features.device):
            normed: Tensor = self.norm(full_precision(features))
        return normed
