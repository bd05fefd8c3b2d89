"""Cross-modal query fusion: any non-empty subset of three modalities becomes one vector.

FlexiReID, CMQF. From the paper: in a block of its own, each modality is attended to by the sum of the other
two; a shared block takes the concatenated results; their mean is the vector; a learned embedding replaces a
missing modality. Reconstructed: what is summed although images and sentences differ in length (`tokens`), the
structure of the blocks, and the shapes of the embeddings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from reid.config import Section
from reid.models.flexireid.streams import Mode, Stream, all_modes, pairs_of, resample_picture, resample_text
from reid.nn.cross_attention import CrossAttentionStack, Residual

SLOTS = 3
TEXT_SLOT = 2
Fusion = Literal["cmqf", "concat", "sum", "hierarchical"]


class FusionConfig(Section):
    """How the modalities of a query are fused; photos are not."""

    kind: Fusion = Field(
        "cmqf",
        description="fusion of query modalities: cross-modal query fusion (cmqf), self-attention on "
        "all tokens (concat), sum of unit vectors (sum), or in two stages (hierarchical)",
    )
    tokens: Literal["global_q_local_kv", "global", "resampled"] = Field(
        "global_q_local_kv",
        description="queries and keys of cmqf: global vectors attend to all tokens; global vectors "
        "attend to global vectors (one key each); sequences resampled to one length "
        "attend to each other",
    )
    length: int | None = Field(
        None, ge=2, description="length of resampled sequences; default: the text tower's context"
    )
    depth: int = Field(1, ge=1, description="number of attention blocks")
    heads: int | None = Field(
        None, ge=1, description="attention heads of the fusion; default: one for every 64 dimensions"
    )
    residual: Residual = Field("q", description="what a cmqf block adds to its attention")
    lef: Literal["learned", "zeros"] = Field(
        "learned", description="tokens that replace a missing modality: a learned embedding, or zeros"
    )
    lef_scope: Literal["shared", "per_mode"] = Field(
        "shared",
        description="learned embeddings: one for each modality, or one for each modality and subset "
        "that lacks it",
    )


class MissingEmbeddings(nn.Module):
    """(mode, slot) -> (L, D): tokens that replace a modality which the mode lacks; normal 0.02, or zeros."""

    def __init__(self, config: FusionConfig, modes: Sequence[Mode], length: int, dim: int) -> None:
        super().__init__()
        each = config.lef_scope == "per_mode"
        lacking = [(k, m) for k, mode in enumerate(modes) for m in range(SLOTS) if m not in mode]
        own = {(k, m): (k if each else 0, m) for k, m in lacking}
        rows = sorted(set(own.values()))
        self.place = {pair: rows.index(name) for pair, name in own.items()}
        shape = (len(rows), length, dim)
        self.table: nn.Parameter | None = None
        if config.lef == "learned":
            self.table = nn.Parameter(torch.empty(shape))
            nn.init.normal_(self.table, std=0.02)
        else:
            self.register_buffer("zeros", torch.zeros(shape), persistent=False)

    def of(self, mode: int, slot: int) -> Tensor:
        """(L, D). Not a forward: counters of products cannot follow a module that returns its own weights."""
        table = self.get_buffer("zeros") if self.table is None else self.table
        return table[self.place[mode, slot]]


class QueryFusion(nn.Module):
    """Streams by slot (0 sketch, 1 infrared, 2 text) and `wanted` (B, K) bool -> (N, D), row by row.

    `wanted` is in main memory, whatever the streams' device. K are all modes of the slots in use. A row that
    lacks a modality of a mode must not want it.
    """

    def __init__(self, config: FusionConfig, dim: int, slots: Sequence[int], context: int) -> None:
        super().__init__()
        self.config = config
        self.dim = dim
        self.context = context
        self.modes = all_modes(slots)
        self.length = 1
        if config.tokens == "resampled":
            self.length = context if config.length is None else config.length
        self.ask = nn.ModuleList(
            CrossAttentionStack(dim, config.depth, config.heads, config.residual) for _ in range(SLOTS)
        )
        self.fuse = CrossAttentionStack(dim, config.depth, config.heads)
        self.lef = MissingEmbeddings(config, self.modes, self.length, dim)

    def forward(self, streams: Mapping[int, Stream], wanted: Tensor, every: bool = False) -> Tensor:
        """Computes only the modes that some row wants; with `every` all of them (for equal gradients)."""
        columns = list(range(len(self.modes)))
        if not every:
            columns = [k for k, anyone in enumerate(wanted.any(0).tolist()) if anyone]
        some = next(iter(streams.values())).whole
        if not columns:
            return some.new_zeros(0, self.dim, dtype=torch.float32)
        size = len(wanted)
        lengths = {m: self._sequences(m, stream) for m, stream in streams.items()}
        full = {m: streams[m].spread(x, size) for m, (x, _) in lengths.items()}  # (B, Q, D)
        answers = []
        for m in range(SLOTS):
            having = [k for k in columns if m in self.modes[k]]
            lacking = [k for k in columns if m not in self.modes[k]]
            parts: dict[int, Tensor] = {}
            if having:
                parts |= zip(having, self._attend(m, having, streams[m], lengths[m], full, size), strict=True)
            if lacking:
                parts |= zip(lacking, self._attend_missing(m, lacking, full, size), strict=True)
            answers.append(torch.stack([parts[k] for k in columns], dim=1))  # (B, k, Q, D)
        joined = torch.cat(answers, dim=2)[pairs_of(wanted[:, columns], some.device)]  # (N, 3 Q, D)
        mixed: Tensor = self.fuse(joined)
        return mixed.mean(1)

    def _sequences(self, slot: int, stream: Stream) -> tuple[Tensor, Tensor | None]:
        """A modality's part of the other modalities' queries, (b, Q, D), and its padding (b, Q)."""
        if self.config.tokens != "resampled":
            return stream.whole[:, None], None
        if slot == TEXT_SLOT:
            return resample_text(stream.tokens, stream.ignored, self.context, self.length)
        return resample_picture(stream.tokens, self.length), None

    def _queries(self, slot: int, mode: int, full: Mapping[int, Tensor], size: int) -> Tensor:
        """The sum of the other modalities, missing ones replaced: (B, Q, D)."""
        others = [
            full[o] if o in self.modes[mode] else self.lef.of(mode, o).expand(size, -1, -1)
            for o in range(SLOTS)
            if o != slot
        ]
        return torch.stack(others).sum(0)

    def _attend(
        self,
        slot: int,
        modes: Sequence[int],
        stream: Stream,
        own: tuple[Tensor, Tensor | None],
        full: Mapping[int, Tensor],
        size: int,
    ) -> Sequence[Tensor]:
        """Attention of the queries of all modes with this modality to its tokens: (B, Q, D) each."""
        source, ignored = own
        if self.config.tokens == "global_q_local_kv":
            source, ignored = stream.tokens, stream.ignored
        queries = [self._queries(slot, k, full, size)[stream.rows] for k in modes]
        added = own[0].repeat(1, len(modes), 1) if self.config.residual == "kv" else None
        mixed: Tensor = self.ask[slot](torch.cat(queries, dim=1), source, ignored, added)
        return stream.spread(mixed, size).chunk(len(modes), dim=1)

    def _attend_missing(
        self, slot: int, modes: Sequence[int], full: Mapping[int, Tensor], size: int
    ) -> Sequence[Tensor]:
        """Attention of each mode's queries to the embedding of a missing modality: (B, Q, D) each."""
        queries = torch.cat([self._queries(slot, k, full, size) for k in modes])
        source = torch.cat([self.lef.of(k, slot).expand(size, -1, -1) for k in modes])
        mixed: Tensor = self.ask[slot](queries, source)
        return mixed.chunk(len(modes))
