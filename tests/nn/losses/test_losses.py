"""Losses against the official code's numbers, and what they do where batches are odd."""

from __future__ import annotations

import json
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from reid.nn.losses.classification import smoothed_cross_entropy
from reid.nn.losses.sdm import EPSILON, sdm
from reid.nn.losses.triplet import batch_hard_triplet, euclidean
from tests.support.places import GOLDEN_FOLDER

GOLDEN = json.loads((GOLDEN_FOLDER / "losses.json").read_text())
LABELS = torch.tensor(GOLDEN["labels"])


def seq(a: float, b: float, shape: list[int]) -> Tensor:
    """sin(a*k + b) with k counting row-major: the inputs of the reference numbers."""
    k = torch.arange(math.prod(shape), dtype=torch.float64)
    return torch.sin(a * k + b).reshape(shape).float()


@pytest.fixture
def features() -> Tensor:
    return seq(**GOLDEN["triplet"]["input"]).requires_grad_()


@pytest.mark.parametrize(("margin", "name"), [(None, "soft"), (0.3, "margin_0.3")])
def test_triplet_equals_the_official_number(features: Tensor, margin: float | None, name: str) -> None:
    assert batch_hard_triplet(features, LABELS, margin).item() == pytest.approx(
        GOLDEN["triplet"][name], abs=6e-7
    )


def test_smoothed_cross_entropy_equals_the_official_number() -> None:
    golden = GOLDEN["cross_entropy"]
    value = smoothed_cross_entropy(seq(**golden["input"]), LABELS, golden["smoothing"])
    assert float(value) == pytest.approx(golden["value"], abs=6e-7)


@pytest.mark.parametrize("margin", [None, 0.3])
def test_triplet_of_a_single_identity_is_zero_with_a_finite_gradient(
    features: Tensor, margin: float | None
) -> None:
    loss = batch_hard_triplet(features, torch.zeros(8, dtype=torch.int64), margin)
    loss.backward()
    assert loss.item() == 0
    assert features.grad is not None
    assert not features.grad.any()


def test_an_anchor_without_another_positive_is_its_own(features: Tensor) -> None:
    alone = torch.arange(8)
    loss = batch_hard_triplet(features, alone)
    loss.backward()
    nearest = (euclidean(features, features) + 1e9 * torch.eye(8)).amin(1)
    assert loss.item() == pytest.approx(F.softplus(1e-6 - nearest).mean().item(), abs=1e-7)
    assert features.grad is not None
    assert torch.isfinite(features.grad).all()


def test_equal_features_have_a_finite_triplet_gradient() -> None:
    same = torch.ones(8, 6, requires_grad=True)
    loss = batch_hard_triplet(same, LABELS)
    loss.backward()
    assert loss.item() == pytest.approx(math.log(2), abs=1e-5)
    assert same.grad is not None
    assert torch.isfinite(same.grad).all()


def test_distances_are_computed_in_float32_under_autocast() -> None:
    x = torch.randn(16, 64) * 3
    exact = torch.cdist(x.double(), x.double()).float() + torch.eye(16)
    with torch.autocast("cpu", torch.bfloat16):
        found = euclidean(x, x) + torch.eye(16)
    assert found.dtype == torch.float32
    off_diagonal = ~torch.eye(16, dtype=torch.bool)
    assert torch.allclose(found[off_diagonal], exact[off_diagonal], rtol=1e-5)


def test_sdm_of_random_features_has_the_published_magnitude() -> None:
    names = torch.arange(64)
    values = [float(sdm(torch.randn(64, 512), torch.randn(64, 512), names)) for _ in range(5)]
    assert sum(values) / 5 == pytest.approx(31.7, abs=1.0)


def test_sdm_of_aligned_features_is_nearly_zero() -> None:
    x = torch.eye(64)
    assert abs(float(sdm(x, x, torch.arange(64)))) < 1e-4


def test_sdm_is_symmetric() -> None:
    a, b, names = torch.randn(12, 8), torch.randn(12, 8), torch.arange(12) // 3
    assert float(sdm(a, b, names)) == pytest.approx(float(sdm(b, a, names)), rel=1e-6)


def test_sdm_ignores_the_length_of_its_vectors() -> None:
    a, b, names = torch.randn(12, 8), torch.randn(12, 8), torch.arange(12) // 3
    assert float(sdm(a * 7, b / 3, names)) == pytest.approx(float(sdm(a, b, names)), rel=1e-5)


def test_sdm_shares_the_target_between_rows_of_one_identity() -> None:
    """Written out from the formula, with double precision and loops."""
    a, b, names = torch.randn(6, 4), torch.randn(6, 4), torch.tensor([0, 0, 0, 1, 1, 2])
    s = 50 * F.normalize(a.double(), dim=1) @ F.normalize(b.double(), dim=1).T
    total = 0.0
    for scores in (s, s.T):
        for i in range(6):
            p = scores[i].softmax(0)
            match = [float(names[i] == names[k]) for k in range(6)]
            for j in range(6):
                q = match[j] / sum(match)
                total += float(p[j] * (p[j].log() - math.log(q + EPSILON))) / 6
    assert float(sdm(a, b, names)) == pytest.approx(total, rel=1e-4)


def test_rows_of_one_identity_may_swap_places_in_sdm() -> None:
    """Two photos of one object are equally good answers, so equal features cost nothing more."""
    x = torch.eye(8)[torch.arange(8) // 2]
    assert abs(float(sdm(x, x, torch.arange(8) // 2))) < 1e-4
    assert float(sdm(x, x, torch.arange(8))) > 5


def test_sdm_is_computed_in_float32_under_autocast() -> None:
    a, b, names = torch.randn(64, 32), torch.randn(64, 32), torch.arange(64)
    exact = sdm(a, b, names)
    with torch.autocast("cpu", torch.bfloat16):
        found = sdm(a, b, names)
    assert found.dtype == torch.float32
    assert float(found) == float(exact)


def test_sdm_of_half_precision_features_stays_finite() -> None:
    a = torch.randn(64, 32, dtype=torch.float16)
    assert math.isfinite(float(sdm(a, -a, torch.arange(64))))
