"""Token selection and modal interaction: which patches matter, and what class tokens learn from them.

Signal (AAAI 2026), selective interaction module: a modality keeps the patches that its own class token
scores highest, and those that the other modalities' class tokens do; class tokens attend to what is left.
The selection is hard, so that no gradient reaches what scores it.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from reid.nn.buffers import to_buffers
from reid.nn.precision import without_autocast
from reid.nn.towers.block import attention

Projections = Literal["frozen", "learned", "identity"]
Drop = Literal["zero", "mask"]


def top_mask(scores: Tensor, k: int | Tensor) -> Tensor:
    """Bool mask of the k largest along the last axis, ties by position; k may differ by row, as (..., 1)."""
    order = scores.argsort(dim=-1, descending=True, stable=True)
    chosen = (torch.arange(scores.shape[-1], device=scores.device) < k).expand_as(order)
    return torch.zeros_like(chosen).scatter(-1, order, chosen)


def intra_selection(cls: Tensor, patches: Tensor, k: int) -> Tensor:
    """What each modality's own class token picks: (B, M, D), (B, M, N, D) -> bool (B, M, N), k true a row.

    The published softmax and scale keep the order of the scores, so they are left out.
    """
    return top_mask(torch.einsum("bmd,bmnd->bmn", cls, patches), k)


def inter_selection(queries: Tensor, keys: Tensor, k: int, present: Tensor) -> Tensor:
    """What the others' class tokens pick: queries (B, M, D), keys (B, M, N, D) -> bool (B, M, N).

    Every present query picks k patches times the number of other present modalities, from all of those
    together; a modality's mask is the union of what the others pick in it. present (B, M).
    """
    scores = torch.einsum("bqd,bmnd->bqmn", queries, keys)
    others = ~torch.eye(keys.shape[1], dtype=torch.bool, device=keys.device)
    usable = present[:, :, None] & present[:, None, :] & others  # (B, query, modality looked into)
    scores = scores.masked_fill(~usable[..., None], -torch.inf)
    chosen = top_mask(scores.flatten(2), k * usable.sum(2, keepdim=True))
    picked: Tensor = chosen.unflatten(2, keys.shape[1:3]).any(1)
    return picked


class TokenSelection(nn.Module):
    """Class tokens (B, M, D), patches (B, M, N, D), present (B, M) -> bool (B, M, N), the kept patches.

    `projections` before the inter-modal scores: "frozen" are random and saved with the weights; "learned" are
    the public code's parameters, which get no gradient either, with its unused value projection; "identity"
    has none.
    """

    def __init__(self, dim: int, k: int, projections: Projections) -> None:
        super().__init__()
        self.k = k
        self.query: nn.Module = nn.Identity() if projections == "identity" else nn.Linear(dim, dim)
        self.key: nn.Module = nn.Identity() if projections == "identity" else nn.Linear(dim, dim)
        if projections == "learned":
            self.value = nn.Linear(dim, dim)  # in public checkpoints; nothing reads it
        elif projections == "frozen":
            to_buffers(self.query)
            to_buffers(self.key)

    @torch.no_grad()
    def forward(self, cls: Tensor, patches: Tensor, present: Tensor) -> Tensor:
        """In float32: half precision would reorder near scores."""
        with without_autocast(cls.device):
            cls, patches = cls.float(), patches.float()
            own = intra_selection(cls, patches, self.k)
            return (own | inter_selection(self.query(cls), self.key(patches), self.k, present)) & present[
                ..., None
            ]


class SelectiveInteraction(nn.Module):
    """Every modality's class token attends to the kept patches of all, then a feed-forward net; post-norm.

    `drop` "zero" leaves discarded patches among the keys as zero vectors, which still take attention, as
    published; "mask" takes them away. Patches of an absent modality are never keys.
    """

    def __init__(
        self, dim: int, k: int, projections: Projections, heads: int, hidden: int, drop: Drop
    ) -> None:
        super().__init__()
        self.drop = drop
        self.selection = TokenSelection(dim, k, projections)
        self.attention = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.ffn = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim))
        self.norm1 = nn.LayerNorm(dim)
        self.norm2 = nn.LayerNorm(dim)

    def forward(self, cls: Tensor, patches: Tensor, present: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(B, M, D), (B, M, N, D), present (B, M), None for all -> rows (B, M, D), kept (B, M, N) bool.

        Every row needs a present modality; an absent modality's row means nothing.
        """
        known = torch.ones_like(cls[..., 0], dtype=torch.bool) if present is None else present
        kept = self.selection(cls, patches, known)
        keys = (patches * kept[..., None]).flatten(1, 2)  # (B, M * N, D)
        ignored = None
        if self.drop == "mask":
            ignored = ~kept.flatten(1)
        elif present is not None:
            ignored = ~present.repeat_interleave(patches.shape[2], dim=1)
        attended = attention(self.attention, cls, keys, ignored)
        rows = self.norm1(cls + attended)
        return self.norm2(rows + self.ffn(rows)), kept
