"""The Gram volume and its contrast against the official code's numbers, and where vectors coincide."""

from __future__ import annotations

import json
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from reid.models.signal.gram_contrast import gram_contrast, gram_volume
from tests.support.places import GOLDEN_FOLDER

TOLD = json.loads((GOLDEN_FOLDER / "signal.json").read_text())
GOLDEN = TOLD["gram"]


def means() -> Tensor:
    """(3 rows, 3 modalities, 5): the mean patches of the reference inputs."""
    k = torch.arange(math.prod(TOLD["tokens"]["shape"]), dtype=torch.float64)
    inputs = [TOLD["tokens"][m] for m in ("rgb", "nir", "tir")]
    tokens = [torch.sin(x["a"] * k + x["b"]).reshape(TOLD["tokens"]["shape"]).float() for x in inputs]
    return torch.stack(tokens, dim=1).mean(2)


def test_volumes_equal_the_official_numbers() -> None:
    unit = F.normalize(means(), dim=2)
    found = gram_volume(unit[:, 0], unit[:, 1:], epsilon=0)
    assert torch.allclose(found, torch.tensor(GOLDEN["volume"]), atol=1e-6)
    assert torch.allclose(gram_volume(unit[:, 0], unit[:, 1:]), found, atol=1e-6)


def test_the_contrast_equals_the_official_number() -> None:
    found = gram_contrast(means(), GOLDEN["temperature"], GOLDEN["smoothing"], epsilon=0)
    assert float(found) == pytest.approx(GOLDEN["loss"], abs=6e-7)


@pytest.mark.parametrize("modalities", [2, 3, 4])
def test_a_volume_is_the_root_of_the_gram_determinant(modalities: int) -> None:
    vectors = F.normalize(torch.randn(6, modalities, 9), dim=2)
    found = gram_volume(vectors[:4, 0], vectors[:, 1:], epsilon=0)
    assert found.shape == (4, 6)
    for i in range(4):
        for j in range(6):
            spanned = torch.cat([vectors[i, :1], vectors[j, 1:]]).double()
            assert float(found[i, j]) == pytest.approx(float(torch.linalg.det(spanned @ spanned.T)) ** 0.5)


def test_orthogonal_vectors_span_one_and_equal_ones_nothing() -> None:
    orthogonal = torch.eye(3)[None]
    assert float(gram_volume(orthogonal[:, 0], orthogonal[:, 1:])) == pytest.approx(1)
    equal = torch.eye(3)[None, [0, 0, 0]]
    assert float(gram_volume(equal[:, 0], equal[:, 1:], epsilon=0)) == 0
    assert float(gram_volume(equal[:, 0], equal[:, 1:], epsilon=1e-8)) == pytest.approx(1e-4)


@pytest.mark.parametrize("epsilon", [1e-8, 0.0])
def test_coinciding_features_have_a_finite_gradient(epsilon: float) -> None:
    one = torch.randn(4, 1, 8)
    features = torch.cat([one, one, one], dim=1).requires_grad_()
    temperature = torch.tensor(0.07, requires_grad=True)
    loss = gram_contrast(features, temperature, epsilon=epsilon)
    loss.backward()
    assert torch.isfinite(loss)
    assert features.grad is not None
    assert torch.isfinite(features.grad).all()
    assert temperature.grad is not None
    assert torch.isfinite(temperature.grad)


def test_without_epsilon_a_determinant_rounded_below_zero_counts_by_size() -> None:
    """As in the public code; with epsilon it counts as zero."""
    x = torch.randn(64, 33)
    products = x @ (2 * x).T
    det = x.square().sum(1)[:, None] * (2 * x).square().sum(1) - products * products
    below = det < 0
    assert below.any()
    found = gram_volume(x, 2 * x[:, None], epsilon=0)
    assert torch.allclose(found[below], (-det[below]).sqrt(), rtol=1e-5)
    assert torch.allclose(gram_volume(x, 2 * x[:, None], epsilon=1e-8)[below], torch.tensor(1e-4))


def test_captures_whose_modalities_agree_cost_less_than_shuffled_ones() -> None:
    """With two modalities; of three, two that nearly coincide span nothing with any anchor."""
    shared = torch.randn(8, 1, 16)
    features = shared + 0.1 * torch.randn(8, 2, 16)
    shuffled = features.clone()
    shuffled[:, 1] = features[:, 1].roll(1, 0)
    assert float(gram_contrast(features, 0.07, 0.0)) < 0.5 * float(gram_contrast(shuffled, 0.07, 0.0))


def test_both_directions_count_alike_and_lengths_do_not() -> None:
    features = torch.randn(6, 2, 8)
    swapped = gram_contrast(features.flip(1), 0.07)
    assert float(gram_contrast(features, 0.07)) == pytest.approx(float(swapped), rel=1e-5)
    assert float(gram_contrast(features * 7, 0.07)) == pytest.approx(float(gram_contrast(features, 0.07)))


def test_the_contrast_is_computed_in_float32_under_autocast() -> None:
    features = torch.randn(8, 3, 16)
    exact = gram_contrast(features, 0.07)
    with torch.autocast("cpu", torch.bfloat16):
        found = gram_contrast(features, 0.07)
    assert found.dtype == torch.float32
    assert float(found) == float(exact)
