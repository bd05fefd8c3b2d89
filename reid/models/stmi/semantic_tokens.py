"""Semantic tokens: a few learned queries and a caption gather features from the patches of one modality.

STMI (AAAI 2026), the module STR: learned queries of the modality, with the caption's feature as one more,
cross-attend to its patch tokens; a feed-forward network follows. Reconstructed: head count, norms, and one
set of weights for each modality.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor, nn

from reid.config import Section
from reid.data.batches.batch import Batch
from reid.modality import Modality
from reid.nn.cross_attention import CrossAttention


class SemanticTokensConfig(Section):
    """Semantic tokens of each modality."""

    enabled: bool = Field(
        True, description="use semantic tokens; without them there is no caption and no interaction (U)"
    )
    tokens: int = Field(
        4, ge=0, description="learned query tokens for each modality (K); the caption adds one more"
    )
    shared: bool = Field(False, description="one set of attention weights for all modalities")


class SemanticTokens(nn.Module):
    """Patches m -> (b_m, N, D) and captions (B, D) -> nodes (B, M, K + 1, D), zero where a row has no m."""

    def __init__(
        self, config: SemanticTokensConfig, dim: int, modalities: Sequence[Modality], heads: int | None = None
    ) -> None:
        super().__init__()
        self.modalities = list(modalities)
        self.shared = config.shared
        self.queries = nn.Parameter(torch.empty(len(self.modalities), config.tokens, dim))
        nn.init.normal_(self.queries, std=0.02)
        names = ["all"] if config.shared else [m.value for m in self.modalities]
        self.attend = nn.ModuleDict({name: CrossAttention(dim, heads) for name in names})

    def forward(self, patches: dict[Modality, Tensor], captions: Tensor, batch: Batch) -> Tensor:
        """`patches` are packed like the batch's images; a modality that is not in it has zero nodes."""
        per = self.queries.shape[1] + 1
        nodes = []
        for place, modality in enumerate(self.modalities):
            if modality not in patches:
                nodes.append(captions.new_zeros(len(batch), per, captions.shape[1]))
                continue
            rows = batch.index[modality]
            learned = self.queries[place].to(captions.dtype).expand(len(rows), -1, -1)
            query_tokens = torch.cat([learned, captions[rows][:, None]], dim=1)  # (b_m, K + 1, D)
            block = self.attend["all" if self.shared else modality.value]
            nodes.append(batch.spread(modality, block(query_tokens, patches[modality])))
        dtype = torch.promote_types(nodes[0].dtype, nodes[-1].dtype)
        return torch.stack([n.to(dtype) for n in nodes], dim=1)
