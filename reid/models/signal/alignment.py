"""Alignment of modalities in training (Signal, AAAI 2026): GAM over captures, LAM over places in them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from reid.config import Section
from reid.errors import ConfigError
from reid.modality import Modality
from reid.models.signal.deformable_sampling import DeformableSampler, Grid
from reid.models.signal.gram_contrast import gram_contrast
from reid.nn.distributed import gather_rows


class GlobalAlignmentConfig(Section):
    """Global alignment. Zero `floor` and `epsilon` are the public code's arithmetic."""

    enabled: bool = Field(True, description="use global alignment in training")
    weight: float = Field(0.2, ge=0, description="weight of global alignment (alpha)")
    temperature: float = Field(0.07, gt=0, description="initial value of the learned temperature")
    floor: float = Field(1e-3, ge=0, description="smallest temperature; 0: no bound, as in the public code")
    smoothing: float = Field(0.1, ge=0, lt=1, description="label smoothing of the contrast")
    epsilon: float = Field(
        1e-8,
        ge=0,
        description="constant under the root of the volume; 0: root of |det|, as in the public code",
    )


class LocalAlignmentConfig(Section):
    """Local alignment."""

    enabled: bool = Field(True, description="use local alignment in training")
    weight: float = Field(0.2, ge=0, description="weight of local alignment (beta)")
    stride: int = Field(4, ge=1, description="side in patches of the area that shares one sampled point")
    offsets: Literal[1, 2] = Field(
        1, description="numbers that move a point: 1: along the diagonal (public code); 2: freely"
    )
    grid: Grid = Field("dat", description="reference points: dat (public code, off centre) or centred")


class GlobalAlignment(nn.Module):
    """Patches (B, M, N, D) -> the Gram contrast of their means, over the rows of all ranks."""

    def __init__(self, config: GlobalAlignmentConfig) -> None:
        super().__init__()
        self.config = config
        self.temperature = nn.Parameter(torch.tensor(config.temperature))

    def bounded(self) -> Tensor:
        """The temperature, at least the floor; its gradient passes, so that it can rise again."""
        if not self.config.floor:
            return self.temperature
        raw = self.temperature
        return raw.detach().clamp_min(self.config.floor) + (raw - raw.detach())

    def forward(self, patches: Tensor) -> Tensor:
        """A scalar, not weighted."""
        means = gather_rows(patches.float().mean(2))  # (B, M, D)
        return gram_contrast(means, self.bounded(), self.config.smoothing, self.config.epsilon)


class LocalAlignment(nn.Module):
    """Patches (B, M, N, D) -> mean squared difference of the modalities' sampled maps, over all ranks."""

    def __init__(
        self, config: LocalAlignmentConfig, modalities: Sequence[Modality], dim: int, grid: tuple[int, int]
    ) -> None:
        super().__init__()
        if min(grid) < config.stride:
            raise ConfigError(
                f"model.lam.stride = {config.stride} does not fit a grid of {grid[0]}x{grid[1]} patches: "
                "lower it, or set model.lam.enabled=false."
            )
        self.grid = grid
        self.samplers = nn.ModuleDict(
            {
                m.value: DeformableSampler(dim, grid, config.stride, config.offsets, config.grid)
                for m in modalities
            }
        )

    def forward(self, patches: Tensor) -> Tensor:
        """A scalar, not weighted: the mean over pairs of modalities; ranks may differ in rows."""
        maps = patches.transpose(2, 3).unflatten(3, self.grid)  # (B, M, D, h, w)
        sampled = [s(x) for s, x in zip(self.samplers.values(), maps.unbind(1), strict=True)]
        pairs = [(a - b).square().flatten(1).mean(1) for a, b in combinations(sampled, 2)]
        return gather_rows(torch.stack(pairs).mean(0)).mean()  # of one value a row
