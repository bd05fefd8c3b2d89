"""Experts: how they start, what dropout does, and that public MFRNet's are dead."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from reid.nn.moe.experts import BottleneckExperts, Init
from reid.nn.moe.layer import MoE
from reid.nn.moe.routing import Router, RouterConfig

DIM, HIDDEN = 64, 16


def experts(count: int = 4, init: Init = "conv", **fields: Any) -> BottleneckExperts:
    return BottleneckExperts(count, DIM, HIDDEN, init=init, **fields)


def spread(x: Tensor) -> float:
    """The bound of a uniform distribution, from its standard deviation."""
    return math.sqrt(3) * float(x.detach().std())


def test_experts_start_distinct_with_torchs_bounds() -> None:
    made = experts(init="conv")
    for weight, fan_in in (
        (made.down, DIM),
        (made.up, HIDDEN),
        (made.down_bias, DIM),
        (made.up_bias, HIDDEN),
    ):
        assert float(weight.detach().abs().max()) <= fan_in**-0.5
        assert spread(weight) == pytest.approx(fan_in**-0.5, rel=0.15)
    assert not any(torch.equal(made.down[0], made.down[e]) for e in (1, 2, 3))


def test_the_other_starts_are_what_they_are_called() -> None:
    xavier, adapter, dead = experts(init="xavier"), experts(init="adapter"), experts(init="dead")
    bound = math.sqrt(6 / (DIM + HIDDEN))
    for weight in (xavier.down, xavier.up):
        assert spread(weight) == pytest.approx(bound, rel=0.05)
        assert float(weight.detach().abs().max()) <= bound
    assert not (xavier.down_bias.any() or xavier.up_bias.any())
    assert adapter.down.any()
    assert not (adapter.up.any() or adapter.down_bias.any() or adapter.up_bias.any())
    assert not any(bool(p.any()) for p in dead.parameters())


def test_shared_experts_are_one_set_of_weights() -> None:
    made = experts(count=6, shared=True)
    assert sum(p.numel() for p in made.parameters()) == 2 * DIM * HIDDEN + DIM + HIDDEN
    assert sum(p.numel() for p in experts(count=6).parameters()) == 6 * (2 * DIM * HIDDEN + DIM + HIDDEN)


@pytest.mark.parametrize("dispatch", ["grouped", "dense"])
@pytest.mark.parametrize("shared", [False, True])
def test_dropout_acts_on_the_hidden_layer_in_training_only(dispatch: Any, shared: bool) -> None:
    made = experts(count=2, dropout=0.5, shared=shared, residual=True)
    moe = MoE(Router(RouterConfig(), DIM, 2), made, dispatch).eval()
    tokens = torch.randn(30, DIM)
    exact = moe(tokens).tokens.detach()
    assert torch.equal(moe(tokens).tokens, exact)
    moe.train()
    drawn = torch.stack([moe(tokens).tokens for _ in range(300)]).detach()
    assert not torch.equal(drawn[0], drawn[1])
    assert float((drawn.mean(0) - exact).abs().mean() / exact.abs().mean()) < 0.1


@pytest.mark.parametrize("dispatch", ["grouped", "dense"])
def test_of_dead_experts_only_the_last_bias_ever_has_a_gradient(dispatch: Any) -> None:
    made = experts(init="dead", shared=True)
    moe = MoE(Router(RouterConfig(), DIM, 4), made, dispatch)
    optimizer = torch.optim.Adam(made.parameters(), lr=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        (moe(torch.randn(20, DIM)).tokens - 1).square().sum().backward()
        optimizer.step()
    assert made.up_bias.detach().abs().min() > 0
    assert not (made.down.any() or made.down_bias.any() or made.up.any())


@pytest.mark.parametrize("dispatch", ["grouped", "dense"])
def test_under_autocast_experts_are_near_and_their_gradients_finite(dispatch: Any) -> None:
    for fields in ({}, {"residual": True}, {"shared": True}):
        moe = MoE(Router(RouterConfig(top_k=2), DIM, 4), experts(**fields), dispatch)
        tokens = torch.randn(50, DIM, requires_grad=True)
        exact = moe(tokens).tokens
        with torch.autocast("cpu", torch.bfloat16):
            found = moe(tokens).tokens
        assert torch.allclose(found.float(), exact, atol=0.05)
        found.float().square().sum().backward()
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in moe.parameters())
        assert all(p.dtype == torch.float32 for p in moe.parameters())


@pytest.mark.parametrize("dispatch", ["grouped", "dense"])
def test_the_same_tokens_give_the_same_bits(dispatch: Any) -> None:
    moe = MoE(Router(RouterConfig(top_k=2), DIM, 4), experts(), dispatch)
    tokens = torch.randn(50, DIM)
    results = []
    for _ in range(2):
        moe.zero_grad()
        out = moe(tokens).tokens
        out.square().sum().backward()
        results.append([out.detach(), *(p.grad.clone() for p in moe.parameters() if p.grad is not None)])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
