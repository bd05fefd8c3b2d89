"""Separation of class centres against a loop."""

from __future__ import annotations

import pytest
import torch

from reid.models.mixer.centre_separation import centre_separation


def test_the_value_is_that_of_loops_over_rows_and_pairs_of_classes() -> None:
    x = torch.randn(7, 4, generator=torch.Generator().manual_seed(2))
    labels = [5, 5, 9, 9, 9, 2, 2]
    unit = x / x.norm(dim=1, keepdim=True)
    centres = {y: unit[[i for i, v in enumerate(labels) if v == y]].mean(0) for y in set(labels)}
    pull = sum(max(0.0, float((u - centres[y]).norm()) - 0.2) for u, y in zip(unit, labels, strict=True)) / 7
    names = sorted(centres)
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    push = sum(max(0.0, 1.1 - float((centres[a] - centres[b]).norm())) for a, b in pairs) / len(pairs)
    found = centre_separation(x, torch.tensor(labels), pull=0.2, push=1.1)
    assert float(found) == pytest.approx(pull + push, rel=1e-4)


def test_one_class_is_only_pulled_and_equal_rows_have_a_finite_gradient() -> None:
    x = torch.ones(3, 4, requires_grad=True)
    loss = centre_separation(x, torch.zeros(3, dtype=torch.int64))
    loss.backward()
    assert float(loss.detach()) == 0
    assert x.grad is not None and torch.isfinite(x.grad).all()
