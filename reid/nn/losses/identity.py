"""The losses of every identity head: classification of the identity, and batch-hard triplets."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from reid.config import Section
from reid.nn.losses.classification import smoothed_cross_entropy
from reid.nn.losses.triplet import batch_hard_triplet


class IdentityTerms(Section):
    """Fields of a `model:` section that has identity heads."""

    label_smoothing: float = Field(
        0.1, ge=0, lt=1, description="label smoothing of the identity classification"
    )
    id_weight: float = Field(0.25, ge=0, description="weight of the identity classification loss")
    triplet_weight: float = Field(1.0, ge=0, description="weight of the batch-hard triplet loss")


def identity_losses(
    logits: Tensor, features: Tensor, labels: Tensor, terms: IdentityTerms
) -> dict[str, Tensor]:
    """Weighted "id" and "triplet" of gathered rows: logits (B, classes), features (B, D), labels (B,)."""
    return {
        "id": terms.id_weight * smoothed_cross_entropy(logits, labels, terms.label_smoothing),
        "triplet": terms.triplet_weight * batch_hard_triplet(features, labels),
    }
