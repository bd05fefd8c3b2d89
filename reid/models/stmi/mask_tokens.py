"""An object's mask on the grid of a vision transformer: which tokens show the object.

STMI (AAAI 2026) marks the patches that lie in the foreground by overlap and lets a few background patches
count as foreground in training (paper, segmentation-guided modulation). The threshold of the overlap and what
happens without a usable mask are a reconstruction.
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
    """What is foreground in B rows. A row that is not `usable` is foreground throughout: it has no mask."""

    tokens: Tensor  # (B, 1 + N) bool; the class token is foreground
    usable: Tensor  # (B,) bool

    def __getitem__(self, rows: Tensor) -> TokenMask:
        """The same of some rows, by index."""
        return TokenMask(self.tokens[rows], self.usable[rows])


def token_mask(
    mask: Tensor | None,
    present: Tensor,
    grid: tuple[int, int],
    theta: float = 0.5,
    overlap: Overlap = "share",
) -> TokenMask:
    """Masks (B, 1, H, W) in [0, 1] -> tokens of a grid (rows, columns); `present` (B,) says who has one.

    A patch is foreground when the mask covers at least `theta` of it, or with "any" when it covers some of
    it. A row without a mask, without a foreground patch or with more than 95 % of them is not usable.
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
    """Each background patch becomes foreground with a chance in [0, 1]; foreground never changes."""
    if chance <= 0:
        return found
    raised = torch.rand(found.tokens.shape, device=found.tokens.device) < chance
    return TokenMask(found.tokens | raised, found.usable)
