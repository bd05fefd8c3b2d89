"""The mixture-of-experts layer: every way to compute it is one sum, token by token."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor

from reid.nn import host_reads
from reid.nn.host_reads import HostRead
from reid.nn.moe import experts as expert_module
from reid.nn.moe.experts import BottleneckExperts, ExpertRuns, Experts
from reid.nn.moe.layer import MixtureOutput, MoE
from reid.nn.moe.routing import Router, RouterConfig, Routing
from tests.support.places import GOLDEN_FOLDER

GOLDEN = json.loads((GOLDEN_FOLDER / "moe.json").read_text())["a1"]
DIM, EXPERTS, HIDDEN = 12, 4, 7
SELECTIONS: dict[str, dict[str, Any]] = {
    "top 1": {"top_k": 1},
    "top 2": {"top_k": 2},
    "top all": {"top_k": EXPERTS},
    "renormalised": {"top_k": 2, "renormalise": True},
    "threshold": {"select": "threshold", "threshold": 0.6},
    "soft": {"select": "soft"},
    "hash": {"score": "hash"},
    "cosine": {"score": "cosine", "dim": 5},
}
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "residual": {"residual": True, "activation": "gelu"},
    "shared": {"shared": True},
    "shared residual": {"shared": True, "residual": True, "activation": "quick_gelu"},
}


def layer(
    select: str = "top 1",
    kind: str = "plain",
    experts: int = EXPERTS,
    dispatch: Any = "grouped",
    capacity: float | None = None,
    **fields: Any,
) -> MoE:
    torch.manual_seed(3)
    made = BottleneckExperts(experts, DIM, HIDDEN, **{**KINDS[kind], **fields})
    config = RouterConfig.model_validate(SELECTIONS[select])
    return MoE(Router(config, DIM, experts), made, dispatch, capacity)


def by_hand(moe: MoE, tokens: Tensor) -> Tensor:
    """One token after the other, one expert after the other, as matrices."""
    flat = tokens.reshape(-1, DIM)
    routing = moe.router(flat, torch.arange(tokens.shape[-2]).repeat(flat.shape[0] // tokens.shape[-2]))
    experts = moe.experts
    assert isinstance(experts, BottleneckExperts)
    rows = []
    for s, token in enumerate(flat):
        total = torch.zeros(DIM)
        for e in range(experts.count):
            i = 0 if experts.shared else e
            hidden = experts.down[i] @ token + experts.down_bias[i]
            hidden = hidden if experts.activation is None else experts.activation(hidden)
            out = experts.up[i] @ hidden + experts.up_bias[i]
            total = total + routing.gates[s, e] * (out + token if experts.residual else out)
        rows.append(total)
    return torch.stack(rows).reshape(tokens.shape)


def gradients(moe: MoE, out: Tensor, tokens: Tensor) -> dict[str, Tensor]:
    """Of a random weighting of the output, for the input and every parameter."""
    moe.zero_grad()
    tokens.grad = None
    weight = torch.randn(out.shape, generator=torch.Generator().manual_seed(7))
    (out * weight).sum().backward()
    wanted = {"tokens": tokens, **{n: p for n, p in moe.named_parameters() if p.requires_grad}}
    assert [n for n, p in wanted.items() if p.grad is None] == []
    return {n: p.grad.clone() for n, p in wanted.items() if p.grad is not None}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("select", SELECTIONS)
def test_every_dispatch_agrees_with_a_loop_over_tokens_in_value_and_gradient(select: str, kind: str) -> None:
    tokens = torch.randn(3, 9, DIM, requires_grad=True)
    reference = layer(select, kind)
    expected = by_hand(reference, tokens)
    slopes = gradients(reference, expected, tokens)
    ways: list[tuple[Any, float | None]] = [("grouped", None), ("dense", None), ("auto", None)]
    ways += [("grouped", 100.0), ("dense", 100.0)]
    for dispatch, capacity in ways:
        moe = layer(select, kind, dispatch=dispatch, capacity=capacity)
        found = moe(tokens).tokens
        assert torch.allclose(found, expected, atol=1e-5), (dispatch, capacity)
        for name, slope in gradients(moe, found, tokens).items():
            assert torch.allclose(slope, slopes[name], atol=1e-5), (dispatch, capacity, name)


def test_with_capacity_grouped_and_dense_still_agree() -> None:
    tokens = torch.randn(40, DIM, requires_grad=True)
    for select in ("top 1", "top 2", "threshold"):
        ways = [layer(select, "residual", dispatch=d, capacity=0.5) for d in ("grouped", "dense")]
        outs = [moe(tokens).tokens for moe in ways]
        assert torch.allclose(*outs, atol=1e-5)
        slopes = [gradients(moe, out, tokens) for moe, out in zip(ways, outs, strict=True)]
        for name, slope in slopes[0].items():
            assert torch.allclose(slope, slopes[1][name], atol=1e-5), (select, name)


class Scaling(Experts):
    """Expert e multiplies by e + 1."""

    count = 3

    def grouped(self, rows: Tensor, runs: ExpertRuns) -> Tensor:
        return rows * torch.arange(1.0, 4.0).repeat_interleave(runs.counts)[:, None]

    def dense(self, tokens: Tensor, gates: Tensor) -> Tensor:
        return tokens * (gates * torch.arange(1.0, 4.0)).sum(1, keepdim=True)


@pytest.mark.parametrize("dispatch", ["grouped", "dense"])
def test_an_output_is_the_experts_output_times_the_gate_as_in_the_official_layer(dispatch: Any) -> None:
    class Told(torch.nn.Module):
        """A scorer that says the golden logits."""

        def forward(self, tokens: Tensor) -> Tensor:
            return torch.tensor(GOLDEN["logits"])

    router = Router(RouterConfig(), DIM, 3)
    router.scorer = Told()
    tokens = torch.randn(10, DIM)
    mixed = MoE(router, Scaling(), dispatch, 1.0)(tokens)
    scale = torch.tensor(GOLDEN["gates"]) * (torch.tensor(GOLDEN["top1"]) + 1)
    assert torch.allclose(mixed.tokens, scale[:, None] * tokens, atol=1e-5)


def test_capacity_drops_the_least_confident_to_exactly_zero() -> None:
    tokens = torch.randn(2, 15, DIM)
    free, limited = (layer("top 1", "residual", capacity=c)(tokens) for c in (None, 0.5))
    routing = limited.routing
    dropped = ~routing.chosen.any(1)
    assert 0 < int(dropped.sum()) < 30
    flat, before = limited.tokens.flatten(0, 1), free.tokens.flatten(0, 1)
    assert not flat[dropped].any()
    assert torch.allclose(flat[~dropped], before[~dropped], atol=1e-6)
    for e in range(EXPERTS):
        wanting = free.routing.chosen[:, e]
        kept = routing.chosen[:, e]
        assert int(kept.sum()) == min(int(wanting.sum()), 4)  # floor(0.5 * ceil(30 / 4))
        if bool((wanting & ~kept).any()):
            assert routing.priority[kept].min() >= routing.priority[wanting & ~kept].max()
    assert torch.equal(routing.wanted, free.routing.chosen)


def test_calls_that_run_as_one_have_a_capacity_each() -> None:
    first, second = torch.randn(3, 5, DIM), torch.randn(2, 5, DIM)
    moe = layer(capacity=0.5)
    both = torch.cat([first, second])
    joint = moe(both, calls=[15, 10])
    apart = [moe(first), moe(second)]
    assert torch.allclose(joint.tokens, torch.cat([a.tokens for a in apart]), atol=1e-6)
    assert torch.equal(joint.routing.chosen, torch.cat([a.routing.chosen for a in apart]))
    assert not torch.equal(moe(both).routing.chosen, joint.routing.chosen)
    empty = moe(torch.cat([first, first[:0]]), calls=[15, 0])
    assert torch.equal(empty.routing.chosen, apart[0].routing.chosen)


@pytest.mark.parametrize("select", SELECTIONS)
def test_without_capacity_a_tokens_output_is_its_own_affair(select: str) -> None:
    moe = layer(select)
    tokens = torch.randn(6, 5, DIM)
    together = moe(tokens).tokens
    assert torch.allclose(together, torch.cat([moe(x[None]).tokens for x in tokens]), atol=1e-6)
    assert torch.allclose(moe(tokens.flip(0)).tokens.flip(0), together, atol=1e-6)


def test_with_capacity_a_tokens_output_depends_on_its_batch() -> None:
    moe = layer(capacity=1.0)
    tokens = torch.randn(6, 5, DIM)
    alone = torch.cat([moe(x[None]).tokens for x in tokens])
    changed = ~torch.isclose(moe(tokens).tokens, alone, atol=1e-6).all(2)
    assert 0 < int(changed.sum()) < 30


@pytest.mark.parametrize("dispatch", ["grouped", "dense"])
@pytest.mark.parametrize("capacity", [None, 1.0])
@pytest.mark.parametrize("select", SELECTIONS)
def test_no_tokens_give_none_yet_a_gradient_for_every_parameter(
    select: str, capacity: float | None, dispatch: Any
) -> None:
    moe = layer(select, dispatch=dispatch, capacity=capacity)
    tokens = torch.zeros(0, 5, DIM, requires_grad=True)
    out = moe(tokens).tokens
    assert out.shape == (0, 5, DIM)
    assert not any(bool(g.any()) for g in gradients(moe, out, tokens).values())


@pytest.mark.parametrize("capacity", [None, 0.01])
def test_an_expert_without_tokens_has_a_gradient_of_zero(capacity: float | None) -> None:
    moe = layer("top 1", capacity=capacity)
    tokens = torch.randn(1, DIM, requires_grad=True)
    mixed = moe(tokens)
    slopes = gradients(moe, mixed.tokens, tokens)
    for name in ("down", "down_bias", "up", "up_bias"):
        moved = slopes[f"experts.{name}"].flatten(1).any(1)
        assert torch.equal(moved, mixed.routing.chosen[0])
    assert int(mixed.routing.chosen.sum()) == (1 if capacity is None else 0)


def test_a_single_expert_takes_every_token_at_gate_one() -> None:
    for dispatch in ("grouped", "dense"):
        moe = layer("top 1", experts=1, dispatch=dispatch)
        tokens = torch.randn(5, DIM)
        mixed = moe(tokens)
        assert torch.equal(mixed.routing.gates, torch.ones(5, 1))
        assert torch.allclose(mixed.tokens, by_hand(moe, tokens), atol=1e-6)


def test_statistics_are_those_counted_by_hand() -> None:
    mixed = layer("top 2")(torch.randn(8, 5, DIM))
    kinds = torch.arange(40) % 3
    stats = mixed.stats(kinds, ["rgb", "nir", "tir"])
    chosen, p = mixed.routing.chosen, mixed.routing.probabilities.detach()
    for e in range(EXPERTS):
        count = sum(bool(chosen[s, e]) for s in range(40))
        assert float(stats[f"load/{e}"]) == pytest.approx(count / 80)
        for k, name in enumerate(("rgb", "nir", "tir")):
            assert int(stats[f"tokens/{name}/{e}"]) == int(chosen[k::3, e].sum())
    assert sum(float(stats[f"load/{e}"]) for e in range(EXPERTS)) == pytest.approx(1)
    entropy = sum(-float(x) * math.log(float(x)) for x in p.flatten()) / 40
    assert float(stats["entropy"]) == pytest.approx(entropy, rel=1e-4)
    assert int(stats["dead"]) == 0
    assert not any(v.requires_grad for v in stats.values())
    assert set(mixed.stats()) == {f"load/{e}" for e in range(EXPERTS)} | {"entropy", "dead"}


def test_experts_without_tokens_are_counted_as_dead() -> None:
    certain = torch.eye(4)[[1, 1, 3]]
    routing = Routing(certain, certain, certain, certain, certain.bool(), certain.bool(), certain.amax(1))
    stats = MixtureOutput(torch.zeros(3, DIM), routing).stats()
    assert int(stats["dead"]) == 2
    assert [round(float(stats[f"load/{e}"]), 4) for e in range(4)] == [0, 0.6667, 0, 0.3333]
    assert float(stats["entropy"]) == pytest.approx(0, abs=1e-6)
    nothing = MixtureOutput(torch.zeros(0, DIM), routing[:0]).stats()
    assert int(nothing["dead"]) == 4
    assert float(nothing["load/0"]) == float(nothing["entropy"]) == 0


@pytest.mark.parametrize(
    ("select", "experts", "dense"),
    [
        ("top 1", 4, False),
        ("top 1", 2, False),
        ("top 1", 1, True),
        ("top 2", 4, False),
        ("top 2", 3, True),
        ("threshold", 4, True),
        ("soft", 4, True),
        ("hash", 4, False),
        ("cosine", 3, False),
    ],
)
def test_auto_runs_every_expert_only_where_most_are_needed(
    select: str, experts: int, dense: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    moe = layer(select, experts=experts, dispatch="auto")
    used: list[str] = []
    for way in ("grouped", "dense"):
        plain = getattr(BottleneckExperts, way)
        monkeypatch.setattr(BottleneckExperts, way, lambda *a, w=way, f=plain: used.append(w) or f(*a))
    moe(torch.randn(6, DIM))
    assert used == ["dense" if dense else "grouped"]


@pytest.mark.parametrize("kind", ["plain", "residual"])
@pytest.mark.parametrize("select", ["top 1", "top 2"])
def test_a_device_that_multiplies_runs_itself_gives_the_same_and_is_asked_nothing(
    select: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(3)
    made = BottleneckExperts(EXPERTS, 16, 8, **KINDS[kind])  # its rows are multiples of 16 bytes
    moe = MoE(Router(RouterConfig.model_validate(SELECTIONS[select]), 16, EXPERTS), made, "grouped")
    tokens = torch.randn(2, 15, 16, requires_grad=True)
    plain = moe(tokens).tokens
    slopes = gradients(moe, plain, tokens)
    before = host_reads.counted.total()
    monkeypatch.setattr(expert_module, "multiplies_runs", lambda *_: True)
    found = moe(tokens).tokens
    assert torch.allclose(found, plain, atol=1e-6)
    for name, slope in gradients(moe, found, tokens).items():
        assert torch.allclose(slope, slopes[name], atol=1e-6), name
    assert host_reads.counted.total() == before


@pytest.mark.parametrize("select", SELECTIONS)
def test_runs_are_asked_for_once_a_mixture(select: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: Counter[HostRead] = Counter()
    monkeypatch.setattr(host_reads, "counted", seen)
    layer(select)(torch.randn(2, 15, DIM))
    assert seen == {HostRead.EXPERT_RUNS: 1}
    layer(select, "shared")(torch.randn(2, 15, DIM))
    assert seen == {HostRead.EXPERT_RUNS: 1 if RouterConfig.model_validate(SELECTIONS[select]).each else 2}
