"""Deformable sampling of a feature map: a coarse grid of points, each moved by what the map shows.

Deformable attention's sampler (Xia et al. 2022, DAT) as Signal (AAAI 2026) uses it for local alignment.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reid.nn.precision import without_autocast

Grid = Literal["dat", "centred"]


class DeformableSampler(nn.Module):
    """Maps (B, D, H, W) -> float32 (B, D, H // stride, W // stride), read bilinearly at moved points.

    `channels` 1 moves a point along the diagonal (one number for y and x, as in Signal's code), 2 freely.
    `grid` "dat" is the published reference grid, off centre and clamped at the border; "centred" spreads the
    points evenly over the map. A point moves by at most two steps of either grid's unit. H and W must be at
    least `stride`.
    """

    points: Tensor  # (2, h, w): y and x of the reference points, in units of half the map
    reach: Tensor  # (2, 1, 1): how far y and x may move

    def __init__(
        self, dim: int, size: tuple[int, int], stride: int = 4, channels: int = 1, grid: Grid = "dat"
    ) -> None:
        super().__init__()
        self.query = nn.Conv2d(dim, dim, 1)
        self.offset = nn.Sequential(
            nn.Conv2d(dim, dim, 1),
            nn.GELU(),
            nn.Conv2d(dim, dim, stride, stride, groups=dim),
            nn.GELU(),
            nn.Conv2d(dim, channels, 1, bias=False),
        )
        counts = [side // stride for side in size]
        # A grid of one point has no last step: it sits in the middle of the map.
        units = [max(n - 1, 1) if grid == "dat" else n for n in counts]
        axes = [(torch.arange(n) + 0.5) / unit * 2 - 1 for n, unit in zip(counts, units, strict=True)]
        self.register_buffer("points", torch.stack(torch.meshgrid(*axes, indexing="ij")), persistent=False)
        self.register_buffer("reach", 2 / torch.tensor(units)[:, None, None], persistent=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Positions and interpolation in float32, under autocast too."""
        offsets = self.offset(self.query(maps))  # (B, 1 or 2, h, w)
        with without_autocast(maps.device):
            where = (self.points + offsets.float().tanh() * self.reach).clamp(-1, 1)  # (B, 2, h, w)
            places = where.flip(1).permute(0, 2, 3, 1)  # (B, h, w, 2), x first
            return F.grid_sample(maps.float(), places, align_corners=True)
