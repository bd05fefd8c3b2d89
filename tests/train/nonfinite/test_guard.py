"""The guard keeps weights, optimiser and buffers as they were, whether or not the device may be asked."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from reid.train.classifiers.placement import clip_gradients
from reid.train.nonfinite.guard import StepGuard

CPU = torch.device("cpu")


def rig(fused: bool) -> tuple[nn.Module, torch.optim.Optimizer, StepGuard]:
    """A small net with a batch norm; fused: its guard does not look at the decision."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))
    model.register_buffer("frozen", torch.ones(5))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, fused=fused)
    guard = StepGuard(model, optimizer, CPU)
    guard.waits = not fused
    return model, optimizer, guard


def step(model: nn.Module, optimizer: torch.optim.Optimizer, guard: StepGuard, rows: Tensor) -> None:
    """One training step."""
    guard.before()
    loss = model(rows).square().mean()
    optimizer.zero_grad(set_to_none=True)
    guard.backward(loss)
    guard.step(clip_gradients(model, 1.0))


def state(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """Every tensor that a step changes."""
    moments: dict[int, dict[str, Any]] = optimizer.state_dict()["state"]
    return copy.deepcopy([*model.state_dict().values(), *(t for m in moments.values() for t in m.values())])


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("first", [0, 2])
def test_a_bad_step_and_those_after_it_change_nothing(fused: bool, first: int) -> None:
    model, optimizer, guard = rig(fused)
    rows = torch.randn(6, 4)
    for _ in range(first):
        step(model, optimizer, guard, rows)
    before = state(model, optimizer)
    step(model, optimizer, guard, rows * torch.inf)
    step(model, optimizer, guard, rows)
    after = state(model, optimizer)
    if not first:  # a fused optimiser made its moments, which are zero
        after = after[: len(before)]
    assert all(torch.equal(a, b) for a, b in zip(after, before, strict=True))
    assert bool(guard.bad)


@pytest.mark.parametrize("fused", [False, True])
def test_good_steps_are_those_without_a_guard(fused: bool) -> None:
    model, optimizer, guard = rig(fused)
    other, plain, _ = rig(fused)
    rows = torch.randn(6, 4)
    for _ in range(3):
        step(model, optimizer, guard, rows)
        plain.zero_grad()
        other(rows).square().mean().backward()
        nn.utils.clip_grad_norm_(other.parameters(), 1.0)
        plain.step()
    assert all(torch.equal(a, b) for a, b in zip(state(model, optimizer), state(other, plain), strict=True))


def test_a_loss_that_is_not_finite_spoils_every_gradient() -> None:
    """A rank whose loss alone is bad tells the others by its share of their mean gradient."""
    model, _, guard = rig(fused=False)
    guard.before()
    loss = model(torch.randn(6, 4)).square().mean() + torch.tensor(torch.inf)
    guard.backward(loss)
    assert all(not bool(p.grad.isfinite().any()) for p in model.parameters() if p.grad is not None)
