"""Features of each modality without their mean: what all pictures of a modality share tells nobody apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from reid.modality import Modality
from reid.nn.distributed import sum_over_ranks


class Centering(nn.Module):
    """Subtracts a running mean from each modality's features.

    In training the mean moves towards that of the batch of all ranks; it is a constant for the gradient. A
    modality that no batch has shown keeps its features. The idea is that of centring in DINO (Caron et al.
    2021, section 3.1), here for each modality.

    Args:
        modalities: in any order.
        dim: length of a feature.
        momentum: share of the batch's mean in the running one; the first batch's is taken whole.

    >>> centre = Centering([Modality.RGB], 2)
    >>> centre({Modality.RGB: torch.tensor([[1.0, 5.0], [3.0, 5.0]])})[Modality.RGB].tolist()
    [[-1.0, 0.0], [1.0, 0.0]]
    """

    mean: Tensor
    seen: Tensor

    def __init__(self, modalities: Sequence[Modality], dim: int, momentum: float = 0.1) -> None:
        super().__init__()
        self.places = {m: i for i, m in enumerate(modalities)}
        self.momentum = momentum
        self.register_buffer("mean", torch.zeros(len(modalities), dim))
        self.register_buffer("seen", torch.zeros(len(modalities), 1, dtype=torch.bool))

    def forward(self, features: Mapping[Modality, Tensor]) -> dict[Modality, Tensor]:
        """m -> (b_m, dim) to the same shapes in float32. In training every rank must call it."""
        if self.training:
            self._follow(features)
        return {m: x.float() - self.mean[self.places[m]] for m, x in features.items()}

    @torch.no_grad()
    def _follow(self, features: Mapping[Modality, Tensor]) -> None:
        sums = self.mean.new_zeros(len(self.mean), self.mean.shape[1] + 1)  # the last column counts rows
        for modality, x in features.items():
            sums[self.places[modality], :-1] = x.float().sum(0)
            sums[self.places[modality], -1] = len(x)
        total = sum_over_ranks(sums)
        count = total[:, -1:]
        shown = count > 0
        rate = torch.where(self.seen, self.momentum, 1.0) * shown
        self.mean.lerp_(total[:, :-1] / count.clamp_min(1), rate)
        self.seen.logical_or_(shown)
