"""Routers: the official numbers, who is chosen and with which gate, and that precision cannot change it."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from reid.config.typed import check
from reid.errors import ConfigError
from reid.nn.moe.routing import (
    SCALE_LIMIT,
    CosineScorer,
    Router,
    RouterConfig,
    Routing,
    adaptive_experts,
    top_k_experts,
)
from tests.support.places import GOLDEN_FOLDER

GOLDEN = json.loads((GOLDEN_FOLDER / "moe.json").read_text())["a1"]
DIM = 8


def router(experts: int = 6, **fields: Any) -> Router:
    return Router(RouterConfig.model_validate(fields), DIM, experts)


def official() -> tuple[Router, Tensor]:
    """The router and the tokens of the golden numbers."""

    def squares(*shape: int) -> Tensor:
        return torch.arange(math.prod(shape), dtype=torch.float64).square().reshape(shape)

    found = router(GOLDEN["experts"], score="cosine", dim=GOLDEN["project"], noise=1.0).eval()
    assert isinstance(found.scorer, CosineScorer)
    with torch.no_grad():
        found.scorer.project.weight.copy_(torch.sin(0.37 * squares(256, DIM)))
        found.scorer.project.bias.zero_()
        found.scorer.directions.copy_(torch.cos(0.53 * squares(256, 3)))
    return found, torch.sin(0.11 * squares(10, DIM) + 0.3).float()


def chosen(routing: Routing) -> list[list[int]]:
    return [row.nonzero()[:, 0].tolist() for row in routing.chosen]


def test_the_cosine_router_gives_the_official_logits_choices_and_gates() -> None:
    found, tokens = official()
    routing = found(tokens)
    assert torch.allclose(routing.logits, torch.tensor(GOLDEN["logits"]), atol=1e-6)
    assert chosen(routing) == [[e] for e in GOLDEN["top1"]]
    assert torch.allclose(routing.gates.sum(1), torch.tensor(GOLDEN["gates"]), atol=1e-6)
    assert torch.equal(routing.gates > 0, routing.chosen)
    assert torch.equal(routing.noisy, routing.logits)


def test_capacity_admits_the_most_confident_as_the_official_code_does() -> None:
    found, tokens = official()
    routing = found(tokens)
    assert torch.equal(routing.limited(GOLDEN["capacity"]).chosen, routing.chosen)
    ranks = sum((~routing.limited(c).chosen.any(1)).long() for c in range(1, 1 + GOLDEN["capacity"]))
    assert isinstance(ranks, Tensor)
    assert ranks.tolist() == GOLDEN["priority_ranks"]
    limited = routing.limited(2)
    assert torch.equal(limited.gates, routing.gates * limited.chosen)
    assert torch.equal(limited.wanted, routing.chosen)
    assert not routing.limited(0).chosen.any()


def test_a_slice_and_the_join_of_slices_are_routings_of_those_tokens() -> None:
    found, tokens = official()
    whole, parts = found(tokens), [found(tokens)[:4], found(tokens)[4:]]
    joined = Routing.join(parts)
    for name, value in vars(whole).items():
        assert torch.equal(getattr(parts[1], name), value[4:]), name
        assert torch.equal(getattr(joined, name), value), name


@pytest.mark.parametrize("k", [1, 2, 6])
def test_top_k_takes_the_most_probable(k: int) -> None:
    routing = router(select="top_k", top_k=k)(torch.randn(40, DIM))
    p = routing.probabilities
    assert (routing.chosen.sum(1) == k).all()
    weakest = p.masked_fill(~routing.chosen, math.inf).amin(1)
    assert (weakest >= p.masked_fill(routing.chosen, -1).amax(1)).all()
    assert torch.equal(routing.gates, p * routing.chosen)
    assert torch.allclose(p.sum(1), torch.ones(40))


def test_ties_go_to_experts_in_their_order() -> None:
    p = torch.tensor([[0.2, 0.2, 0.2, 0.2, 0.2], [0.1, 0.3, 0.3, 0.3, 0.0]])
    assert top_k_experts(p, 2).tolist() == [[1, 1, 0, 0, 0], [0, 1, 1, 0, 0]]
    assert adaptive_experts(p, 0.3).tolist() == [[1, 1, 0, 0, 0], [0, 1, 1, 0, 0]]
    silent = router(score="cosine", top_k=2, init="normal")(torch.zeros(3, DIM))  # its direction is undefined
    assert chosen(silent) == [[0, 1]] * 3
    assert torch.allclose(silent.probabilities, torch.full((3, 6), 1 / 6))


@pytest.mark.parametrize(("threshold", "experts"), [(0.6, 4), (0.4, 3), (0.0, 1), (0.99, 6)])
def test_of_six_equal_experts_the_adaptive_rule_takes_as_many_as_exceed_the_threshold(
    threshold: float, experts: int
) -> None:
    kept = adaptive_experts(torch.full((2, 6), 1 / 6), threshold)
    assert kept.tolist() == [[e < experts for e in range(6)]] * 2


def test_the_adaptive_rule_must_exceed_the_threshold_and_never_chooses_nobody() -> None:
    p = torch.tensor([[0.5, 0.25, 0.25], [0.125, 0.75, 0.125], [0.25, 0.25, 0.5], [1.0, 0.0, 0.0]])
    assert adaptive_experts(p, 0.5).tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 1], [1, 0, 0]]
    assert adaptive_experts(p, 0.75).tolist() == [[1, 1, 1], [1, 1, 0], [1, 1, 1], [1, 0, 0]]
    assert adaptive_experts(p, 0.0).tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]]
    assert adaptive_experts(torch.ones(3, 1), 0.9).all()


def test_a_threshold_router_takes_the_fewest_experts_that_exceed_it() -> None:
    routing = router(select="threshold", threshold=0.6)(3 * torch.randn(200, DIM))
    mass = routing.gates.sum(1)
    assert (mass > 0.6).all()
    least = routing.gates.masked_fill(~routing.chosen, math.inf).amin(1)
    assert (mass - least <= 0.6 + 1e-6).all()
    assert routing.chosen.sum(1).unique().numel() > 2


@pytest.mark.parametrize("fields", [{"top_k": 1}, {"top_k": 3}, {"select": "threshold"}, {"select": "soft"}])
def test_renormalised_gates_sum_to_one_in_their_old_proportions(fields: dict[str, Any]) -> None:
    plain, renormalised = router(**fields), router(**fields, renormalise=True)
    renormalised.load_state_dict(plain.state_dict())
    tokens = torch.randn(30, DIM)
    gates = plain(tokens).gates
    found = renormalised(tokens)
    assert torch.allclose(found.gates.sum(1), torch.ones(30), atol=1e-6)
    assert torch.allclose(found.gates, gates / gates.sum(1, keepdim=True), atol=1e-6)


def test_soft_routing_takes_every_expert_at_its_probability() -> None:
    routing = router(select="soft")(torch.randn(30, DIM))
    assert routing.chosen.all()
    assert torch.equal(routing.gates, routing.probabilities)


def test_hash_routing_needs_keys_and_is_fixed_and_balanced() -> None:
    hashed = router(3, score="hash")
    tokens = torch.randn(129, DIM)
    with pytest.raises(ConfigError, match=r"router\.score: hash needs a key"):
        hashed(tokens)
    routing = hashed(tokens, torch.arange(129))
    again = hashed(torch.randn(129, DIM), torch.arange(129).flip(0))
    assert torch.equal(again.chosen.flip(0), routing.chosen)
    assert (routing.chosen.sum(1) == 1).all()
    assert torch.equal(routing.gates, routing.chosen.float())
    assert all(38 <= count <= 48 for count in routing.chosen.sum(0).tolist())
    large = hashed(torch.randn(3000, DIM), 2**40 + torch.arange(3000)).chosen.sum(0)
    assert (large > 900).all()
    assert list(hashed.parameters()) == []


@pytest.mark.parametrize("fields", [{"top_k": 2}, {"select": "soft"}, {"select": "threshold"}])
def test_hash_routing_goes_with_one_expert_a_token(fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="hash sends a token to one expert"):
        check(RouterConfig, {"score": "hash", **fields}, "model.router")


@pytest.mark.parametrize("score", ["cosine", "linear"])
def test_noise_moves_choices_in_training_only_and_never_the_clean_probabilities(score: str) -> None:
    noisy = router(4, score=score, noise=1.0)
    tokens = torch.randn(4000, DIM)
    clean = noisy.eval()(tokens)
    assert torch.equal(noisy(tokens).chosen, clean.chosen)
    found = noisy.train()(tokens)
    drawn = (found.noisy - found.logits).detach()
    assert float(drawn.std()) == pytest.approx(1 / 4, rel=0.03)
    assert torch.equal(found.probabilities, clean.probabilities)
    assert not torch.equal(found.chosen, clean.chosen)
    assert torch.allclose(found.gates, found.noisy.softmax(1) * found.chosen)
    assert torch.equal(found.chosen.long().argmax(1), found.noisy.argmax(1))
    assert torch.equal(found.priority, found.noisy.softmax(1).amax(1))


@pytest.mark.parametrize("score", ["cosine", "linear"])
@pytest.mark.parametrize("select", ["top_k", "threshold", "soft"])
def test_routing_is_float32_under_autocast_and_equals_that_without(score: str, select: str) -> None:
    plain = router(score=score, select=select)
    tokens = torch.randn(500, DIM)
    exact = plain(tokens)
    with torch.autocast("cpu", torch.bfloat16):
        found = plain(tokens)
    for name, value in vars(exact).items():
        assert torch.equal(getattr(found, name), value), name
        assert value.dtype == (torch.bool if name in ("chosen", "wanted") else torch.float32)
    assert plain(tokens.bfloat16()).logits.dtype == torch.float32


def test_the_cosines_scale_starts_at_the_temperature_and_stops_at_a_hundred() -> None:
    found, tokens = official()
    scorer = found.scorer
    assert isinstance(scorer, CosineScorer)
    assert float(scorer.log_scale.detach()) == pytest.approx(math.log(2))
    cosine = found(tokens).logits.detach() / 2
    assert float(cosine.abs().max()) <= 1
    with torch.no_grad():
        scorer.log_scale.fill_(7.0)
    assert torch.allclose(found(tokens).logits, 100 * cosine, rtol=1e-5)
    assert math.exp(SCALE_LIMIT) == pytest.approx(100)
    sharp = router(score="cosine", temperature=0.01).scorer
    assert isinstance(sharp, CosineScorer)
    assert float(sharp.log_scale.detach().exp()) == pytest.approx(100, rel=1e-5)


def test_a_fixed_temperature_has_no_gradient_and_a_learned_one_has() -> None:
    for learned in (True, False):
        found = router(score="cosine", learn_temperature=learned)
        found(torch.randn(20, DIM)).gates.sum().backward()
        scale = found.get_parameter("scorer.log_scale")
        assert scale.requires_grad is learned
        assert (scale.grad is not None and bool(scale.grad.any())) is learned
        assert "scorer.log_scale" in found.state_dict()


def test_gates_pass_gradients_to_the_router_but_choices_do_not() -> None:
    found, tokens = router(top_k=2), torch.randn(20, DIM, requires_grad=True)
    routing = found(tokens)
    assert routing.gates.requires_grad
    assert not routing.priority.requires_grad
    routing.gates.square().sum().backward()
    assert tokens.grad is not None and bool(tokens.grad.any())
    assert all(p.grad is not None and bool(p.grad.any()) for p in found.parameters())


def test_more_experts_a_token_than_there_are_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"router\.top_k: 4 of 3 experts.*at most 3"):
        router(3, top_k=4)
    assert router(3, top_k=3)(torch.randn(2, DIM)).chosen.all()
    router(3, top_k=4, select="soft")


def test_the_normal_start_is_small_with_zero_biases() -> None:
    scorer = Router(RouterConfig(score="cosine", init="normal"), 64, 6).scorer
    assert isinstance(scorer, CosineScorer)
    assert float(scorer.project.weight.detach().std()) == pytest.approx(0.02, rel=0.1)
    assert not scorer.project.bias.any()
    assert float(scorer.directions.detach().std()) == pytest.approx(0.01, rel=0.1)
    linear = Router(RouterConfig(init="normal", bias=True), 64, 6).scorer
    assert float(linear.weight.detach().std()) == pytest.approx(0.02, rel=0.2)
    assert not linear.bias.any()


def test_no_tokens_are_routed_nowhere() -> None:
    for fields in ({"score": "cosine"}, {"select": "threshold"}, {"select": "soft"}):
        routing = router(**fields)(torch.zeros(0, DIM))
        assert routing.gates.shape == routing.limited(3).chosen.shape == (0, 6)
        assert routing.experts == 6
