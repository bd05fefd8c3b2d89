"""Interaction of tokens over a hypergraph: similar tokens share an edge and exchange features through it.

STMI (AAAI 2026), cross-modal hypergraph interaction: tokens -> edges of similar tokens -> tokens, with a
learned weight of each edge and a bias of each node. The paper gives neither the similarity nor the threshold,
and its pairwise formulation is not a hypergraph: here every node is the anchor of one edge, which contains
all nodes of at least a cosine similarity. The degree norm and the feature map come from hypergraph
convolution (Bai et al. 2021): without the former, features of similar tokens grow with the number of edges.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from reid.config import Section
from reid.nn.cross_attention import CrossAttention
from reid.nn.precision import without_autocast

Kind = Literal["hypergraph", "graph", "attention", "none"]


class HypergraphConfig(Section):
    """How the modalities' tokens interact.

    All but `kind` and `layers` applies to hypergraph and graph only.
    """

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
    """Nodes (B, n, D) -> (B, n, D): the input plus the messages of its edges."""

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
        """`members` (B, edges, n) bool. A node without an edge adds only its bias to its features."""
        edge = self.edge_weight if self.config.weight == "raw" else F.softplus(self.edge_weight)
        inside = members.to(nodes.dtype)
        if self.config.kind == "hypergraph":
            gathered = inside @ nodes / inside.sum(2, keepdim=True).clamp_min(1)  # (B, edges, D)
        else:
            gathered = nodes  # a graph: a node tells its neighbours of itself
        messages = inside.transpose(1, 2) @ (edge.to(nodes.dtype)[:, None] * gathered)
        if self.config.degree_norm:
            messages = messages / inside.sum(1)[..., None].clamp_min(1)
        if self.map is not None:
            messages = self.map(messages)
        messages = messages + self.node_bias.to(messages.dtype)
        if self.config.activation != "none":
            messages = F.gelu(messages) if self.config.activation == "gelu" else F.relu(messages)
        return nodes + messages


class Interaction(nn.Module):
    """Nodes (B, n, D), of which `present` (B, n) exist -> the same shape, and the sizes of the edges."""

    def __init__(self, config: HypergraphConfig, nodes: int, dim: int, heads: int | None = None) -> None:
        super().__init__()
        self.config = config
        count = 0 if config.kind == "none" else config.layers
        if config.kind == "attention":
            self.layers = nn.ModuleList(CrossAttention(dim, heads) for _ in range(count))
        else:
            self.layers = nn.ModuleList(HypergraphLayer(config, nodes, dim) for _ in range(count))

    def forward(self, nodes: Tensor, present: Tensor) -> tuple[Tensor, Tensor | None]:
        """Absent nodes are unchanged and send no messages.

        Also the sizes (B, n) of the edges, 0 for absent anchors.
        """
        sizes: Tensor | None = None
        for layer in self.layers:
            if self.config.kind == "attention":
                updated = layer(nodes, nodes, ~present)
            else:
                members = hyperedges(nodes, present, self.config)
                sizes = members.sum(2) if sizes is None else sizes
                updated = layer(nodes, members)
            nodes = torch.where(present[..., None], updated, nodes.to(updated.dtype))
        return nodes, sizes


@torch.no_grad()
def hyperedges(nodes: Tensor, present: Tensor, config: HypergraphConfig) -> Tensor:
    """The nodes (B, n, D) in each anchor's edge: bool (B, anchors, n); the anchor itself is always in it.

    In float32: half precision would move nodes over the threshold. Mode "quantile" keeps the most similar
    share of a capture's pairs, whatever their similarities are.
    """
    with without_autocast(nodes.device):
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
