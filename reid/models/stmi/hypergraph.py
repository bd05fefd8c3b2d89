"""Interaction of tokens over a hypergraph: tokens that are alike share an edge, and learn through it.

STMI (AAAI 2026), cross-modal hypergraph interaction: tokens -> edges of similar ones -> tokens, with a
learned weight of each edge and a bias of each node. The paper names neither the similarity nor the threshold,
and its pairwise wording is no hypergraph: here every node is the anchor of one edge, which holds all that are
at least so similar (cosine). The degree norm and the feature map come from hypergraph convolution (Bai et al.
2021): without the first, features of similar tokens grow by the number of edges.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from reid.config import Section
from reid.nn.cross_attention import CrossAttention

Kind = Literal["hypergraph", "graph", "attention", "none"]


class HypergraphConfig(Section):
    """How the modalities' tokens interact. All but `kind` and `layers` is for hypergraph and graph."""

    kind: Kind = Field(
        "hypergraph",
        description="interaction of tokens: over a hypergraph, over a graph of similar pairs, by "
        "attention among all tokens, or none",
    )
    layers: int = Field(1, ge=1, le=3, description="number of interaction layers")
    tau_mode: Literal["cosine", "quantile"] = Field(
        "cosine",
        description="least similarity within an edge: the fixed value tau, or a quantile of each "
        "capture's pairs",
    )
    tau: float = Field(
        0.5,
        ge=-1,
        le=1,
        description="least cosine similarity within an edge; not in the paper: 4 to 10 of 15 in "
        "stat/hyperedge is sound",
    )
    quantile: float = Field(
        0.4, gt=0, le=1, description="share of a capture's pairs that count as similar (tau_mode: quantile)"
    )
    weight: Literal["raw", "softplus"] = Field(
        "raw", description="learned weight of an edge: as it is, or through softplus; it starts at 1"
    )
    bias: Literal["node", "shared"] = Field(
        "node", description="one bias for each node, as in the paper, or one for all"
    )
    degree_norm: bool = Field(
        True, description="divide by the number of a node's edges; false: the paper's equation unchanged"
    )
    feature_map: bool = Field(True, description="linear map of messages that starts as the identity")
    activation: Literal["gelu", "relu", "none"] = Field(
        "gelu", description="activation of an interaction layer"
    )


class HypergraphLayer(nn.Module):
    """Nodes (B, n, D) -> (B, n, D): the input plus what its edges tell it."""

    def __init__(self, config: HypergraphConfig, nodes: int, dim: int) -> None:
        super().__init__()
        self.config = config
        start = 1.0 if config.weight == "raw" else float(torch.tensor(1.0).expm1().log())
        self.edge_weight = nn.Parameter(torch.full((nodes,), start))
        self.node_bias = nn.Parameter(torch.zeros(nodes if config.bias == "node" else 1, dim))
        self.map: nn.Linear | None = None
        if config.feature_map:
            self.map = nn.Linear(dim, dim, bias=False)
            nn.init.eye_(self.map.weight)

    def forward(self, nodes: Tensor, members: Tensor) -> Tensor:
        """`members` (B, edges, n) bool; a node of no edge keeps its features plus its bias's."""
        edge = self.edge_weight if self.config.weight == "raw" else F.softplus(self.edge_weight)
        inside = members.to(nodes.dtype)
        if self.config.kind == "hypergraph":
            gathered = inside @ nodes / inside.sum(2, keepdim=True).clamp_min(1)  # (B, edges, D)
        else:
            gathered = nodes  # a graph: a node tells its neighbours of itself
        told = inside.transpose(1, 2) @ (edge.to(nodes.dtype)[:, None] * gathered)
        if self.config.degree_norm:
            told = told / inside.sum(1)[..., None].clamp_min(1)
        if self.map is not None:
            told = self.map(told)
        told = told + self.node_bias.to(told.dtype)
        if self.config.activation != "none":
            told = F.gelu(told) if self.config.activation == "gelu" else F.relu(told)
        return nodes + told


class Interaction(nn.Module):
    """Nodes (B, n, D) of which `present` (B, n) exist -> the same, and the mean size of a hyperedge."""

    def __init__(self, config: HypergraphConfig, nodes: int, dim: int, heads: int | None = None) -> None:
        super().__init__()
        self.config = config
        count = 0 if config.kind == "none" else config.layers
        if config.kind == "attention":
            self.layers = nn.ModuleList(CrossAttention(dim, heads) for _ in range(count))
        else:
            self.layers = nn.ModuleList(HypergraphLayer(config, nodes, dim) for _ in range(count))

    def forward(self, nodes: Tensor, present: Tensor) -> tuple[Tensor, Tensor | None]:
        """Absent nodes stay as they are and tell nothing. Sizes (B, n) of the edges, 0 of absent anchors."""
        sizes: Tensor | None = None
        for layer in self.layers:
            if self.config.kind == "attention":
                told = layer(nodes, nodes, ~present)
            else:
                members = hyperedges(nodes, present, self.config)
                sizes = members.sum(2) if sizes is None else sizes
                told = layer(nodes, members)
            nodes = torch.where(present[..., None], told, nodes.to(told.dtype))
        return nodes, sizes


@torch.no_grad()
def hyperedges(nodes: Tensor, present: Tensor, config: HypergraphConfig) -> Tensor:
    """Which nodes (B, n, D) each anchor's edge holds: bool (B, anchors, n), itself included.

    In float32: half precision would move nodes over the threshold. Of the pairs of a capture, mode "quantile"
    keeps the most similar share, whatever their similarities are.
    """
    with torch.autocast(nodes.device.type, enabled=False):
        units = F.normalize(nodes.float(), dim=2)
        similar = units @ units.transpose(1, 2)
    both = present[:, :, None] & present[:, None]
    own = torch.eye(nodes.shape[1], dtype=torch.bool, device=nodes.device)
    least: Tensor | float = config.tau
    if config.tau_mode == "quantile":
        usable = both & ~own
        order = similar.masked_fill(~usable, -torch.inf).flatten(1).sort(1, descending=True).values
        rank = (usable.sum((1, 2)) * config.quantile).ceil().long().clamp_min(1) - 1
        least = order.gather(1, rank[:, None])[..., None]  # (B, 1, 1)
    found: Tensor = ((similar >= least) | own) & both
    return found
