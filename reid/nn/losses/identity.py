"""The losses of every identity head: classification of the identity, and batch-hard triplets."""

from __future__ import annotations

from typing import Protocol

from pydantic import Field
from torch import Tensor

from reid.config import Section
from reid.nn.losses.triplet import batch_hard_triplet


class IdentityTerms(Section):
    """Fields of a `model:` section that has identity heads."""

    label_smoothing: float = Field(
        0.1, ge=0, lt=1, description="label smoothing of the identity classification"
    )
    id_weight: float = Field(0.25, ge=0, description="weight of the identity classification loss")
    triplet_weight: float = Field(1.0, ge=0, description="weight of the batch-hard triplet loss")


class IdentityHead(Protocol):
    """A head that classifies identities, such as a BNNeck."""

    def loss(self, features: Tensor, labels: Tensor, smoothing: float) -> Tensor:
        """Cross-entropy of features (B, D) with labels (B,) and label smoothing, a scalar."""


def identity_losses(
    head: IdentityHead, features: Tensor, labels: Tensor, terms: IdentityTerms
) -> dict[str, Tensor]:
    """Weighted "id" and "triplet" of a head on gathered rows: features (B, D), labels (B,)."""
    return {
        "id": terms.id_weight * head.loss(features, labels, terms.label_smoothing),
        "triplet": terms.triplet_weight * batch_hard_triplet(features, labels),
    }
