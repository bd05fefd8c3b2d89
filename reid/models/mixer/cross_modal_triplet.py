"""Triplets over two modalities mixed, as a mixed gallery needs them.

MixER (arXiv 2501.13307) names a mixed cross-modal triplet loss without a formula in the text at hand; this
one is a reconstruction: the hardest positive of the other modality and of the own one, each against the
hardest negative of either modality.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from reid.nn.losses.triplet import euclidean
from reid.nn.precision import full_precision

Negatives = Literal["any", "each"]


def mixed_cross_modal_triplet(
    features: Tensor,
    labels: Tensor,
    kinds: Tensor,
    margin: float | None = 0.3,
    negatives: Negatives = "any",
) -> Tensor:
    """A scalar: the mean over anchors of [margin + d_cross - d_n]+ plus that of [margin + d_intra - d_n]+.

    features (N, D), of any length: distances are between unit vectors. labels (N,) identities, kinds (N,)
    modalities. d_cross and d_intra are the farthest positives of another and of the same modality, d_n is the
    nearest negative: of any modality, or (`each`) of the modality of the positive. `margin` None: soft,
    log(1 + exp(d_p - d_n)). Anchors without such a positive or negative are left out of that mean.
    """
    unit = F.normalize(full_precision(features), dim=1)
    distance = euclidean(unit, unit)
    same_label = labels[:, None] == labels[None, :]
    same_kind = kinds[:, None] == kinds[None, :]
    alone = torch.eye(len(features), dtype=torch.bool, device=features.device)
    total = unit.new_zeros(())
    for kin in (~same_kind, same_kind):
        others = ~same_label if negatives == "any" else ~same_label & kin
        total = total + _hinge(distance, same_label & kin & ~alone, others, margin)
    return total


def _hinge(distance: Tensor, positive: Tensor, negative: Tensor, margin: float | None) -> Tensor:
    """Mean over the rows that have both; 0 without any."""
    usable = positive.any(1) & negative.any(1)
    farthest = distance.masked_fill(~positive, -torch.inf).amax(1).masked_fill(~usable, 0.0)
    nearest = distance.masked_fill(~negative, torch.inf).amin(1).masked_fill(~usable, 0.0)
    gap = farthest - nearest
    each = F.softplus(gap) if margin is None else F.relu(gap + margin)
    return (each * usable).sum() / usable.sum().clamp_min(1)
