"""The hypergraph: who shares an edge, what is told along it, and what stays apart."""

from __future__ import annotations

import json
import math
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from reid.config.typed import check
from reid.errors import ConfigError
from reid.models.stmi.hypergraph import HypergraphConfig, HypergraphLayer, Interaction, Kind, hyperedges
from tests.support.places import GOLDEN_FOLDER

GOLDEN = json.loads((GOLDEN_FOLDER / "stmi.json").read_text())
LITERAL: dict[str, Any] = {"degree_norm": False, "feature_map": False, "activation": "none"}


def made(**fields: Any) -> HypergraphConfig:
    config: HypergraphConfig = check(HypergraphConfig, fields, "model.chi")
    return config


def alike(cosine: float = 0.8, rows: int = 64, nodes: int = 15, dim: int = 512) -> Tensor:
    """Tokens (rows, nodes, dim) that share a part, with this cosine on average."""
    shared, own = torch.randn(rows, 1, dim), torch.randn(rows, nodes, dim)
    return cosine**0.5 * shared + (1 - cosine) ** 0.5 * own


def everyone(nodes: Tensor) -> Tensor:
    return torch.ones(nodes.shape[:2], dtype=torch.bool)


@pytest.mark.parametrize("tau", sorted(GOLDEN["hyperedge"]))
def test_the_threshold_says_how_many_nodes_an_edge_holds(tau: str) -> None:
    nodes = alike()
    members = hyperedges(nodes, everyone(nodes), made(tau=float(tau)))
    assert float(members.sum(2).float().mean()) == pytest.approx(GOLDEN["hyperedge"][tau], abs=0.6)
    assert members.diagonal(dim1=1, dim2=2).all(), "an anchor is in its own edge"
    assert torch.equal(members, members.transpose(1, 2))


def test_a_quantile_holds_its_share_of_the_pairs_however_alike_all_are() -> None:
    for cosine in (0.1, 0.8, 0.99):
        nodes = alike(cosine)
        members = hyperedges(nodes, everyone(nodes), made(tau_mode="quantile", quantile=0.4))
        pairs = members.sum((1, 2)) - 15
        assert ((pairs - 0.4 * 15 * 14).abs() <= 2).all()


def test_a_capture_is_grouped_alike_alone_and_among_others() -> None:
    nodes = alike(0.6)
    for config in (made(tau=0.6), made(tau_mode="quantile", quantile=0.3)):
        together = hyperedges(nodes, everyone(nodes), config)
        alone = torch.cat([hyperedges(n[None], everyone(n[None]), config) for n in nodes])
        assert torch.equal(together, alone)


@pytest.mark.parametrize("tau_mode", ["cosine", "quantile"])
def test_absent_nodes_are_in_no_edge_and_anchor_none(tau_mode: str) -> None:
    nodes, config = alike(), made(tau_mode=tau_mode)
    present = everyone(nodes)
    present[:, 5:10] = False
    members = hyperedges(nodes, present, config)
    assert not members[:, 5:10].any() and not members[:, :, 5:10].any()
    kept = torch.cat([nodes[:, :5], nodes[:, 10:]], dim=1)
    few = hyperedges(kept, everyone(kept), config)
    rest = [*range(5), *range(10, 15)]
    assert torch.equal(members[:, rest][:, :, rest], few)


def test_without_degree_norm_similar_tokens_grow_as_measured_and_with_it_they_do_not() -> None:
    nodes = alike()
    sizes = {}
    for norm in (False, True):
        layer = HypergraphLayer(made(**{**LITERAL, "degree_norm": norm}), 15, 512)
        told = layer(nodes, hyperedges(nodes, everyone(nodes), made())) - nodes
        sizes[norm] = float(told.detach().norm() / nodes.norm())
    assert sizes[False] == pytest.approx(GOLDEN["growth"], abs=0.2)
    assert sizes[True] < 1


def test_a_layer_is_the_equation_written_out() -> None:
    """h_i + gelu(map(sum over its edges of w_e mean(members) / number of edges) + b_i)."""
    config = made(tau=0.3)
    layer = HypergraphLayer(config, 4, 6)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn_like(parameter))
    (nodes,) = alike(0.3, 1, 4, 6)
    (members,) = hyperedges(nodes[None], torch.ones(1, 4, dtype=torch.bool), config)
    assert 4 < int(members.sum()) < 16
    assert layer.map is not None
    expected = []
    for i in range(4):
        edges = [e for e in range(4) if members[e, i]]
        told = sum(layer.edge_weight[e] * nodes[members[e]].mean(0) for e in edges) / len(edges)
        expected.append(nodes[i] + torch.nn.functional.gelu(layer.map(told) + layer.node_bias[i]))
    assert torch.allclose(layer(nodes[None], members[None])[0], torch.stack(expected), atol=1e-5)


def test_a_graph_tells_of_its_neighbours_themselves() -> None:
    config = made(kind="graph", tau=0.3, feature_map=False, activation="none")
    nodes = alike(0.3, 1, 4, 6)
    members = hyperedges(nodes, everyone(nodes), config)
    told = HypergraphLayer(config, 4, 6)(nodes, members)
    mean = torch.stack([nodes[0][members[0, :, i]].mean(0) for i in range(4)])
    assert torch.allclose(told[0], nodes[0] + mean, atol=1e-5)


@pytest.mark.parametrize("kind", get_args(Kind))
@pytest.mark.parametrize("layers", [1, 3])
def test_every_kind_leaves_absent_nodes_out(kind: str, layers: int) -> None:
    module = Interaction(made(kind=kind, layers=layers), 15, 64)
    nodes = alike(0.5, 4, 15, 64)
    present = everyone(nodes)
    present[0, 5:10] = False
    told, sizes = module(nodes, present)
    changed = nodes.clone()
    changed[0, 5:10] = 7
    again, _ = module(changed, present)
    rest = [*range(5), *range(10, 15)]
    assert torch.allclose(told[0, rest], again[0, rest], atol=1e-6)
    assert torch.equal(told[0, 5:10], nodes[0, 5:10])
    assert torch.equal(told, nodes) == (kind == "none")
    if kind in ("hypergraph", "graph"):
        assert sizes is not None
        assert sizes.shape == (4, 15)
        assert not sizes[0, 5:10].any()
    else:
        assert sizes is None


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"weight": "softplus", "bias": "shared", "activation": "relu"},
        LITERAL,
        {"kind": "graph"},
        {"layers": 2, "tau_mode": "quantile"},
    ],
)
def test_everything_learns_and_edges_start_at_one(fields: dict[str, Any]) -> None:
    module = Interaction(made(**fields), 15, 32)
    nodes = alike(0.6, 8, 15, 32).requires_grad_()
    told, _ = module(nodes, everyone(nodes))
    (told * torch.randn_like(told)).sum().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None and parameter.grad.any(), name
        if name.endswith("edge_weight"):
            start = math.log(math.e - 1) if fields.get("weight") == "softplus" else 1.0
            assert torch.allclose(parameter, torch.full((15,), start))
    biases = {n: p.shape for n, p in module.named_parameters() if n.endswith("node_bias")}
    assert set(biases.values()) == {(1 if fields.get("bias") == "shared" else 15, 32)}


def test_half_precision_does_not_move_nodes_between_edges() -> None:
    nodes, config = alike(0.7), made(tau=0.7)
    with torch.autocast("cpu", torch.bfloat16):
        found = hyperedges(nodes, everyone(nodes), config)
        told, _ = Interaction(config, 15, 512)(nodes, everyone(nodes))
    assert torch.equal(found, hyperedges(nodes, everyone(nodes), config))
    assert told.isfinite().all()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tau": 1.5}, r"model\.chi\.tau: .*less than or equal to 1"),
        ({"layers": 4}, r"model\.chi\.layers"),
        ({"kind": "hyper"}, r"model\.chi\.kind"),
        ({"quantile": 0}, r"model\.chi\.quantile: .*greater than 0"),
    ],
)
def test_what_cannot_be_is_refused_by_field(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        made(**fields)
