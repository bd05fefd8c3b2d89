"""Gradient reversal: the identity forwards, the opposite backwards."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from reid.models.mixer.gradient_reversal import GradientReversal


def test_the_head_descends_and_what_feeds_it_ascends() -> None:
    torch.manual_seed(0)
    x = torch.randn(5, 3, requires_grad=True)
    head, labels = nn.Linear(3, 2), torch.tensor([0, 1, 0, 1, 1])
    F.cross_entropy(head(x), labels).backward()
    plain_x, plain_w = x.grad, head.weight.grad
    assert plain_x is not None and plain_w is not None
    x.grad, head.weight.grad = None, None
    reverse = GradientReversal(0.5)
    assert torch.equal(reverse(x), x)
    F.cross_entropy(head(reverse(x)), labels).backward()
    assert x.grad is not None and head.weight.grad is not None
    assert torch.allclose(x.grad, -0.5 * plain_x)
    assert torch.allclose(head.weight.grad, plain_w)


def test_a_ramp_rises_from_zero_to_the_strength_over_training_steps_only() -> None:
    reverse = GradientReversal(2.0, ramp_steps=4)
    found = []
    for _ in range(6):
        found.append(float(reverse.current()))
        reverse(torch.zeros(1))
    expected = [2 * (2 / (1 + math.exp(-10 * min(1, i / 4))) - 1) for i in range(6)]
    assert found == pytest.approx(expected, abs=1e-6)
    assert found[0] == 0
    reverse.eval()(torch.zeros(1))
    assert int(reverse.steps) == 6
    again = GradientReversal(2.0, ramp_steps=4)
    again.load_state_dict(reverse.state_dict())
    assert float(again.current()) == float(reverse.current())
