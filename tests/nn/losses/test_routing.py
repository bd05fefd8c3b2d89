"""The routers' auxiliary losses against the official numbers, and at their bounds."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch import Tensor

from reid.nn.losses.routing import balance_loss, entropy_loss, expert_totals, squared_variation
from reid.nn.moe.routing import Router, RouterConfig, Routing, top_k_experts
from tests.support.places import GOLDEN_FOLDER

GOLDEN = json.loads((GOLDEN_FOLDER / "moe.json").read_text())["a1"]


def routing_of(logits: Tensor, k: int = 1, noisy: Tensor | None = None) -> Routing:
    """Where these logits lead, without a router."""
    noisy = logits if noisy is None else noisy
    p = noisy.softmax(1)
    chosen = top_k_experts(p, k)
    return Routing(logits, noisy, logits.softmax(1), p * chosen, chosen, chosen, p.amax(1))


@pytest.fixture
def official() -> Routing:
    return routing_of(torch.tensor(GOLDEN["logits"]))


def normal_cdf(x: float) -> float:
    return 0.5 * (1 + math.erf(x / math.sqrt(2)))


def test_importance_and_load_equal_the_official_numbers(official: Routing) -> None:
    importance, load = expert_totals(official)
    assert torch.allclose(importance, torch.tensor(GOLDEN["importance"]), atol=5e-6)
    assert torch.allclose(load, torch.tensor(GOLDEN["load"]), atol=2e-5)
    assert float(squared_variation(importance)) == pytest.approx(GOLDEN["importance_cv2"], abs=2e-8)
    assert float(squared_variation(load)) == pytest.approx(GOLDEN["load_cv2"], abs=2e-8)
    assert float(balance_loss(official)) == pytest.approx(GOLDEN["loss"], abs=1e-8)


def test_the_logit_variant_asks_how_likely_noise_would_choose_an_expert(official: Routing) -> None:
    importance, load = expert_totals(official, "logit")
    assert torch.equal(importance, expert_totals(official)[0])
    logits, top = official.logits.tolist(), GOLDEN["top1"]
    for e in range(3):
        by_hand = sum(normal_cdf(3 * (row[e] - row[t])) for row, t in zip(logits, top, strict=True))
        assert float(load[e]) == pytest.approx(by_hand, abs=1e-5)
    assert float(balance_loss(official, "logit")) == pytest.approx(
        0.5 * float(squared_variation(importance) + squared_variation(load)), rel=1e-6
    )
    assert float(balance_loss(official, "logit")) != pytest.approx(GOLDEN["loss"], rel=0.1)


def test_load_compares_with_the_last_chosen_noisy_logit() -> None:
    logits, noisy = torch.tensor([[0.1, 0.9, 0.3, -1.0]]), torch.tensor([[0.5, 0.7, 0.2, -1.0]])
    for k, last in ((1, 0.7), (2, 0.5), (3, 0.2)):
        _, load = expert_totals(routing_of(logits, k, noisy), "logit")
        expected = [normal_cdf(4 * (x - last)) for x in logits[0].tolist()]
        assert load.tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("k", [1, 2])
def test_what_capacity_drops_still_counts_as_asked_for(k: int) -> None:
    routing = routing_of(torch.randn(30, 4), k)
    limited = routing.limited(3)
    assert not torch.equal(limited.chosen, routing.chosen)
    assert torch.equal(balance_loss(limited), balance_loss(routing))


def test_balance_is_nil_for_an_even_load_and_for_one_expert() -> None:
    even = torch.eye(4).repeat(5, 1)
    assert float(balance_loss(routing_of(even), "logit")) == pytest.approx(0, abs=1e-6)
    lone = torch.randn(6, 1, requires_grad=True)
    loss = balance_loss(routing_of(lone))
    loss.backward()
    assert float(loss.detach()) == 0
    assert lone.grad is not None


def test_one_expert_taking_all_costs_the_most() -> None:
    """CV^2 with unbiased variance of (S, 0, ..., 0) is E."""
    greedy = routing_of(torch.tensor([[50.0, 0, 0, 0]]).repeat(10, 1))
    assert float(balance_loss(greedy, "logit")) == pytest.approx(4, rel=1e-4)


def test_balance_teaches_the_router_to_spread_its_tokens() -> None:
    router = Router(RouterConfig(bias=True), 6, 4).train()
    with torch.no_grad():
        router.get_parameter("scorer.bias").copy_(torch.tensor([2.0, 0, 0, 0]))
    tokens = torch.randn(400, 6)
    optimizer = torch.optim.Adam(router.parameters(), lr=0.05)
    history = []
    for _ in range(60):
        routing = router(tokens)
        loss = balance_loss(routing, "logit")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append((float(loss.detach()), int(routing.chosen.sum(0).max())))
    assert history[-1][0] < 0.05 * history[0][0]
    assert history[-1][1] < 160 < history[0][1]


@pytest.mark.parametrize("experts", [1, 2, 6])
def test_entropy_lies_between_nil_and_the_logarithm_of_the_experts(experts: int) -> None:
    most = entropy_loss(routing_of(torch.zeros(5, experts)))
    least = entropy_loss(routing_of(200 * torch.eye(experts)))
    between = entropy_loss(routing_of(torch.randn(50, experts)))
    assert float(most) == pytest.approx(math.log(experts), abs=1e-6)
    assert float(least) == pytest.approx(0, abs=1e-6)
    assert experts == 1 or 0 < float(between) < math.log(experts)


def test_entropy_is_of_the_clean_probabilities_of_all_experts() -> None:
    logits = torch.tensor([[0.0, 0.0], [math.log(3.0), 0.0]])
    by_hand = (math.log(2) - 0.75 * math.log(0.75) - 0.25 * math.log(0.25)) / 2
    assert float(entropy_loss(routing_of(logits, noisy=torch.randn(2, 2)))) == pytest.approx(
        by_hand, abs=1e-6
    )


def test_entropy_leaves_padding_out() -> None:
    logits = torch.randn(9, 4, requires_grad=True)
    valid = torch.tensor([True, True, False] * 3)
    loss = entropy_loss(routing_of(logits), valid)
    assert float(loss.detach()) == pytest.approx(float(entropy_loss(routing_of(logits[valid])).detach()))
    loss.backward()
    assert logits.grad is not None
    assert torch.equal(logits.grad.any(1), valid)
    nothing = entropy_loss(routing_of(logits), torch.zeros(9, dtype=torch.bool))
    assert float(nothing.detach()) == 0


def test_certain_and_no_tokens_have_finite_losses_and_gradients() -> None:
    for logits in (torch.tensor([[300.0, -300.0, 0.0]] * 4), torch.zeros(0, 3)):
        logits.requires_grad_()
        routing = routing_of(logits)
        (balance_loss(routing) + entropy_loss(routing)).backward()
        assert logits.grad is not None
        assert torch.isfinite(logits.grad).all()


def test_losses_are_float32_under_autocast(official: Routing) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        found = balance_loss(official), entropy_loss(official)
    assert [x.dtype for x in found] == [torch.float32] * 2
    assert torch.equal(torch.stack(found), torch.stack([balance_loss(official), entropy_loss(official)]))
