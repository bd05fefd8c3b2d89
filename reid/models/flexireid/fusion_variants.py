"""The fusions that cross-modal query fusion is compared with, and the choice among all of them.

FlexiReID's table names concatenation, sum and hierarchical fusion without details; all three are
reconstructed. Concatenation follows ReID5o (2025): all tokens of the present modalities.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reid.data.batches.host_labels import placed
from reid.models.flexireid.query_fusion import SLOTS, TEXT_SLOT, FusionConfig, MissingEmbeddings, QueryFusion
from reid.models.flexireid.streams import Mode, Stream, all_modes, pairs_of
from reid.nn.cross_attention import CrossAttentionStack, keep_mean


class SumFusion(nn.Module):
    """The sum of the unit global vectors of the present modalities. No parameters."""

    def __init__(self, dim: int, slots: Sequence[int]) -> None:
        super().__init__()
        self.dim = dim
        self.modes = all_modes(slots)

    def forward(self, streams: Mapping[int, Stream], wanted: Tensor, every: bool = False) -> Tensor:
        """See QueryFusion."""
        some = next(iter(streams.values())).whole
        rows, columns = pairs_of(wanted, some.device)
        total = some.new_zeros(len(rows), self.dim, dtype=torch.float32)
        for slot, stream in streams.items():
            has = placed(torch.tensor([slot in mode for mode in self.modes]), some.device)[columns]
            unit = stream.spread(F.normalize(stream.whole.float(), dim=1), len(wanted))
            total = total + unit[rows] * has[:, None]
        return total


class ConcatFusion(nn.Module):
    """All tokens of the present modalities in one sequence, through self-attention; the mean token."""

    def __init__(self, config: FusionConfig, dim: int, slots: Sequence[int]) -> None:
        super().__init__()
        self.dim = dim
        self.modes = all_modes(slots)
        self.fuse = CrossAttentionStack(dim, config.depth, config.heads)

    def forward(self, streams: Mapping[int, Stream], wanted: Tensor, every: bool = False) -> Tensor:
        """See QueryFusion. Every mode is a pass of its own, as sequences differ in length."""
        size = len(wanted)
        full = {m: s.spread(s.tokens, size) for m, s in streams.items()}
        padding = {m: s.spread(s.ignored, size) for m, s in streams.items() if s.ignored is not None}
        found = next(iter(full.values())).new_zeros(size, len(self.modes), self.dim)
        for k, mode in enumerate(self.modes):
            rows = placed(wanted[:, k].nonzero()[:, 0], found.device)
            if not len(rows) and not every:
                continue
            tokens = torch.cat([full[m][rows] for m in mode], dim=1)
            ignored = torch.cat(
                [
                    padding[m][rows]
                    if m in padding
                    else rows.new_zeros(len(rows), full[m].shape[1], dtype=torch.bool)
                    for m in mode
                ],
                dim=1,
            )
            fused = keep_mean(self.fuse(tokens, ignored=ignored), ignored).to(found.dtype)
            found = found.index_put((rows, rows.new_full(rows.shape, k)), fused)
        return found[pairs_of(wanted, found.device)]


class HierarchicalFusion(nn.Module):
    """Fuses sketch and infrared first, then the result with the text: self-attention and mean each time.

    It uses global vectors; a learned embedding replaces a missing modality.
    """

    def __init__(self, config: FusionConfig, dim: int, slots: Sequence[int]) -> None:
        super().__init__()
        self.modes: list[Mode] = all_modes(slots)
        self.visual = CrossAttentionStack(dim, config.depth, config.heads)
        self.all = CrossAttentionStack(dim, config.depth, config.heads)
        self.lef = MissingEmbeddings(config, self.modes, 1, dim)

    def forward(self, streams: Mapping[int, Stream], wanted: Tensor, every: bool = False) -> Tensor:
        """See QueryFusion."""
        size = len(wanted)
        full = {m: s.spread(s.whole, size) for m, s in streams.items()}
        nothing = next(iter(full.values()))[:1] * 0  # of a modality without rows: nobody wants its modes
        pairs = pairs_of(wanted, nothing.device)
        inputs = []
        for slot in range(SLOTS):
            each = []
            for k, mode in enumerate(self.modes):
                made = full.get(slot, nothing) if slot in mode else self.lef.of(k, slot)
                each.append(made.expand(size, -1))
            inputs.append(torch.stack(each, dim=1)[pairs])  # (N, D)
        visual = self.visual(torch.stack(inputs[:TEXT_SLOT], dim=1)).mean(1)
        fused: Tensor = self.all(torch.stack([visual, inputs[TEXT_SLOT]], dim=1)).mean(1)
        return fused


def make_fusion(config: FusionConfig, dim: int, slots: Sequence[int], context: int) -> nn.Module:
    """The configured fusion, called like QueryFusion, for the used slots and texts of up to `context`
    positions.
    """
    if config.kind == "sum":
        return SumFusion(dim, slots)
    if config.kind == "concat":
        return ConcatFusion(config, dim, slots)
    if config.kind == "hierarchical":
        return HierarchicalFusion(config, dim, slots)
    return QueryFusion(config, dim, slots, context)


def reads_tokens(config: FusionConfig) -> bool:
    """Whether the fusion reads more than the global vectors."""
    return config.kind == "concat" or (config.kind == "cmqf" and config.tokens != "global")
