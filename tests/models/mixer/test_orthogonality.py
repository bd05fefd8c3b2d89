"""Terms that push two features apart, against plain loops."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from reid.models.mixer.orthogonality import orthogonality, orthonormality


def pair(n: int = 6, d: int = 5) -> tuple[Tensor, Tensor]:
    drawn = torch.Generator().manual_seed(3)
    return torch.randn(n, d, generator=drawn), torch.randn(n, d, generator=drawn)


def cosine(a: Tensor, b: Tensor) -> float:
    return float(a @ b / (a.norm() * b.norm()))


@pytest.mark.parametrize(("form", "of"), [("abs", abs), ("squared", lambda c: c * c)])
def test_rows_are_compared_one_by_one(form: str, of: object) -> None:
    a, b = pair()
    assert callable(of)
    expected = sum(of(cosine(x, y)) for x, y in zip(a, b, strict=True)) / len(a)
    assert float(orthogonality(a, b, form)) == pytest.approx(expected, rel=1e-5)  # type: ignore[arg-type]


def test_correlation_is_the_norm_of_the_channels_cross_correlations() -> None:
    a, b = pair()
    total = 0.0
    for i in range(a.shape[1]):
        for j in range(b.shape[1]):
            total += cosine(a[:, i] - a[:, i].mean(), b[:, j] - b[:, j].mean()) ** 2
    expected = math.sqrt(total) / a.shape[1]
    assert float(orthogonality(a, b, "correlation")) == pytest.approx(expected, rel=1e-5)


def test_non_negative_copies_start_at_one_and_disjoint_channels_end_at_zero() -> None:
    x = pair()[0].abs()
    assert float(orthogonality(x, x.clone())) == pytest.approx(1, abs=1e-6)
    left, right = x.clone(), x.clone()
    left[:, :2], right[:, 2:] = 0, 0
    for form in ("abs", "squared"):
        assert float(orthogonality(left, right, form)) == 0  # type: ignore[arg-type]


@pytest.mark.parametrize("form", ["abs", "squared", "correlation"])
def test_descending_makes_features_orthogonal(form: str) -> None:
    a, b = (x.requires_grad_() for x in pair())
    start = float(orthogonality(a, b, form).detach())  # type: ignore[arg-type]
    for _ in range(200):
        loss = orthogonality(a, b, form)  # type: ignore[arg-type]
        grads = torch.autograd.grad(loss, (a, b))
        with torch.no_grad():
            for x, g in zip((a, b), grads, strict=True):
                x -= 0.1 * g
    assert float(loss.detach()) < 0.5 * start


def test_zero_features_have_a_finite_gradient() -> None:
    for form in ("abs", "squared", "correlation"):
        a, b = torch.zeros(4, 3, requires_grad=True), torch.zeros(4, 3, requires_grad=True)
        orthogonality(a, b, form).backward()  # type: ignore[arg-type]
        assert a.grad is not None and torch.isfinite(a.grad).all()


def test_orthonormality_is_zero_for_a_rotation_and_finite_there() -> None:
    turn = torch.tensor([[0.6, -0.8], [0.8, 0.6]], requires_grad=True)
    loss = orthonormality(turn)
    loss.backward()
    assert float(loss.detach()) < 2e-6
    assert turn.grad is not None and torch.isfinite(turn.grad).all()
    assert float(orthonormality(2 * torch.eye(3))) == pytest.approx(3 * math.sqrt(3))
