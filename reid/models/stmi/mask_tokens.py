"""An object's mask on the grid of a vision transformer: the tokens that show the object.

STMI (AAAI 2026) marks foreground patches by their overlap with the mask, and in training lets a few
background patches count as foreground (segmentation-guided modulation). Reconstructed: the threshold of the
overlap, and the handling of unusable masks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Overlap = Literal["share", "any"]
FULL = 0.95
"""A mask over more than this share of the patches tells nothing."""


@dataclass(frozen=True)
class TokenMask:
    """The foreground tokens of B rows.

    A row that is not `usable` has no mask and is foreground throughout.
    """

    tokens: Tensor  # (B, 1 + N) bool; the class token is foreground
    usable: Tensor  # (B,) bool

    def __getitem__(self, rows: Tensor) -> TokenMask:
        """The rows with these indices."""
        return TokenMask(self.tokens[rows], self.usable[rows])


def token_mask(
    mask: Tensor | None,
    present: Tensor,
    grid: tuple[int, int],
    theta: float = 0.5,
    overlap: Overlap = "share",
) -> TokenMask:
    """Masks (B, 1, H, W) in [0, 1] -> foreground tokens of a grid (rows, columns).

    `present` (B,) marks the rows with a mask. A patch is foreground when the mask covers at least `theta` of
    it, or any part of it with "any". A mask is not usable when it has no foreground patch or over 95 % of
    them.
    """
    n = grid[0] * grid[1]
    if mask is None:
        tokens = torch.ones(len(present), 1 + n, dtype=torch.bool, device=present.device)
        return TokenMask(tokens, torch.zeros_like(present))
    share = F.adaptive_avg_pool2d(mask.float(), grid).flatten(1)  # (B, N)
    patches = share > 0 if overlap == "any" else share >= theta
    count = patches.sum(1)
    usable = present & (count > 0) & (count <= FULL * n)
    patches = patches | ~usable[:, None]
    return TokenMask(F.pad(patches, (1, 0), value=True), usable)


def perturbed(found: TokenMask, chance: float) -> TokenMask:
    """Background patches become foreground with a probability in [0, 1]; foreground patches do not change."""
    if chance <= 0:
        return found
    raised = torch.rand(found.tokens.shape, device=found.tokens.device) < chance
    return TokenMask(found.tokens | raised, found.usable)
