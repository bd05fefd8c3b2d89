"""A small untrained decoupled model: a specific and a shared block a modality, each of unit norm."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reid.comparison.regimes import Regime
from reid.data.batches.batch import Batch
from reid.modality import Subset
from reid.models.base import Output, ReIDModel, Side

SIZE = 8


class TinyDecoupled(ReIDModel):
    """Random projections of a coarse picture."""

    def __init__(self, modalities: Subset, seed: int = 0) -> None:
        super().__init__()
        self.regime = Regime.DECOUPLED
        self.modalities = modalities
        self.query_modalities = self.gallery_modalities = frozenset(modalities)
        self.shared_blocks = frozenset(f"shared_{m.value}" for m in modalities)
        names = [f"{kind}_{m.value}" for kind in ("specific", "shared") for m in modalities]
        self.feature_blocks = {name: slice(i * SIZE, (i + 1) * SIZE) for i, name in enumerate(names)}
        self.dim = SIZE * len(names)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.maps = nn.ModuleDict({name: nn.Linear(3 * 8 * 4, SIZE, bias=False) for name in names})

    def forward(self, batch: Batch) -> Output:
        raise NotImplementedError("is not trained")

    def embed(self, batch: Batch, side: Side) -> Tensor:
        """(B, dim) float32 of unit norm; blocks of absent modalities are zero."""
        batch.require_any(self.modalities)
        found = torch.zeros(len(batch), self.dim)
        for m, pixels in batch.images.items():
            coarse = F.adaptive_avg_pool2d(pixels.float(), (8, 4)).flatten(1)
            for name in (f"specific_{m.value}", f"shared_{m.value}"):
                block = F.normalize(self.maps[name](coarse), dim=1)
                found[:, self.feature_blocks[name]] = batch.spread(m, block)
        return F.normalize(found, dim=1)
