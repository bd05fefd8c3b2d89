"""What an encoder gives of one modality's rows, and which queries are to be fused from several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from reid.data.batches.host_labels import placed

Mode = tuple[int, ...]
"""The slots (0 ... S - 1, ascending) that a query is made of."""


@dataclass(frozen=True)
class Stream:
    """b encoded rows of one modality."""

    rows: Tensor  # (b,) int64 ascending, their rows in the batch
    whole: Tensor  # (b, D) global vector
    tokens: Tensor  # (b, L, D) every token, or only the global one; L may differ between batches
    ignored: Tensor | None = None  # (b, L) bool padding

    def spread(self, packed: Tensor, size: int) -> Tensor:
        """Packed entries (b, ...) at their rows of (size, ...), zero elsewhere."""
        if len(packed) == size:
            return packed
        return packed.new_zeros(size, *packed.shape[1:]).index_copy(0, self.rows, packed)


def all_modes(slots: Sequence[int]) -> list[Mode]:
    """Every non-empty subset of the slots, smallest first."""
    masks = sorted(range(1, 1 << len(slots)), key=lambda bits: (bits.bit_count(), bits))
    return [tuple(s for i, s in enumerate(slots) if bits >> i & 1) for bits in masks]


def pairs_of(wanted: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    """Row and column, (N,) each on `device`, of the marked pairs of a table (B, K) of the main memory."""
    rows, columns = wanted.nonzero(as_tuple=True)
    return placed(rows, device), placed(columns, device)


def resample_picture(tokens: Tensor, length: int) -> Tensor:
    """(b, 1 + N, D) -> (b, length, D): the class token, and the patches averaged to length - 1."""
    patches = F.adaptive_avg_pool1d(tokens[:, 1:].transpose(1, 2), length - 1).transpose(1, 2)
    return torch.cat([tokens[:, :1], patches], dim=1)


def resample_text(
    tokens: Tensor, ignored: Tensor | None, context: int, length: int
) -> tuple[Tensor, Tensor | None]:
    """(b, L, D) of a tower of so many positions -> (b, length, D), zero where there is no word, and those.

    Positions are averaged over the words that they hold; with length = context they are kept as they are.
    """
    if ignored is None:
        ignored = torch.zeros(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
    spare = context - tokens.shape[1]
    words = F.pad((~ignored).to(tokens.dtype), (0, spare))  # (b, context)
    full = F.pad(tokens * (~ignored)[..., None], (0, 0, 0, spare))
    share = F.adaptive_avg_pool1d(words[:, None], length)  # (b, 1, length) of words in a position
    pooled = F.adaptive_avg_pool1d(full.transpose(1, 2), length) / share.clamp_min(1 / (2 * context))
    return pooled.transpose(1, 2), share[:, 0] == 0
