"""Cross-entropy over classes that two ranks share, against the plain one in one process."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from reid.nn.classifier.sampling import local_targets
from reid.nn.classifier.split_softmax import split_cross_entropy
from tests.support.models import split_ranks as ranks


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return ranks.run_ranks(ranks.split_losses, tmp_path_factory.mktemp("ranks"))


@pytest.mark.parametrize("case", ranks.LOSSES)
def test_two_ranks_with_a_share_of_the_classes_equal_one_with_all(
    found: list[dict[str, Any]], case: str
) -> None:
    classes, smoothing = ranks.LOSSES[case]
    weight, features, labels = ranks.drawn(classes)
    weight.requires_grad_()
    rows = torch.cat(features).requires_grad_()
    loss = F.cross_entropy(rows @ weight.T, torch.cat(labels), label_smoothing=smoothing)
    loss.backward()
    assert weight.grad is not None and rows.grad is not None
    for rank in found:
        assert torch.allclose(rank[case]["loss"], loss, rtol=0, atol=1e-12)
    for part, expected in (("weight", weight.grad), ("features", rows.grad)):
        assert torch.allclose(torch.cat([r[case][part] for r in found]), expected, rtol=0, atol=1e-12)


def test_each_rank_has_its_own_rows_of_the_weight_only(found: list[dict[str, Any]]) -> None:
    assert [len(r["uneven"]["weight"]) for r in found] == [4, 3]
    assert [len(r["one class"]["weight"]) for r in found] == [1, 0]


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_alone_it_is_the_plain_loss_to_1e6_in_float32_however_large_the_logits(smoothing: float) -> None:
    drawn = torch.Generator().manual_seed(0)
    features = (100 * torch.randn(6, 8, generator=drawn)).requires_grad_()
    weight = torch.randn(20, 8, generator=drawn).requires_grad_()
    labels = torch.randint(20, (6,), generator=drawn)
    plain = F.cross_entropy(features @ weight.T, labels, label_smoothing=smoothing)
    split = split_cross_entropy(features, weight, local_targets(labels, 0, 20), smoothing, 1)
    assert torch.allclose(split, plain, rtol=1e-6)
    inputs = (features, weight)
    for ours, theirs in zip(
        torch.autograd.grad(split, inputs), torch.autograd.grad(plain, inputs), strict=True
    ):
        assert torch.allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_its_gradient_is_that_of_finite_differences() -> None:
    drawn = torch.Generator().manual_seed(0)
    features = torch.randn(4, 3, generator=drawn, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(5, 3, generator=drawn, dtype=torch.float64, requires_grad=True)
    targets = torch.tensor([0, 4, -1, 2])
    assert torch.autograd.gradcheck(
        lambda x, w: split_cross_entropy(x, w, targets, 0.1, 1), (features, weight)
    )
