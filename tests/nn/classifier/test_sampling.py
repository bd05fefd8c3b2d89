"""Sampled negatives: what a step compares with, and what gets a gradient."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from reid.nn.bnneck import BNNeck
from reid.nn.classifier.placement import ClassifierPlacement, classifiers_placed
from reid.nn.classifier.sampling import sample_rows, step_generator
from tests.support.models import split_ranks as ranks

LABELS = {0, 1, 2, 25, 26}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return ranks.run_ranks(ranks.sampled_steps, tmp_path_factory.mktemp("ranks"))


def touched(rank: dict[str, Any], step: str) -> set[int]:
    """The classes that a step gave a gradient."""
    rows = rank[step]["gradient"].abs().sum(1).nonzero()[:, 0]
    return {int(row) + rank["first"] for row in rows}


def test_every_class_of_the_batch_is_compared_and_each_rank_keeps_to_its_share(
    found: list[dict[str, Any]],
) -> None:
    classes = [touched(rank, "step 3") for rank in found]
    assert set().union(*classes) >= LABELS
    assert [len(c) for c in classes] == [5, 5]  # a quarter of 20 rows each, and nothing else has a gradient
    assert classes[0] <= set(range(20)) and classes[1] <= set(range(20, 40))


def test_a_step_draws_the_same_classes_again_and_another_step_others(found: list[dict[str, Any]]) -> None:
    for rank in found:
        assert torch.equal(rank["step 3"]["gradient"], rank["step 3 again"]["gradient"])
        assert touched(rank, "step 3") != touched(rank, "step 4")
    assert torch.equal(found[0]["step 3"]["loss"], found[1]["step 3"]["loss"])


def test_the_loss_is_the_softmax_over_the_sampled_classes(found: list[dict[str, Any]]) -> None:
    torch.manual_seed(5)
    head = BNNeck(ranks.DIM, 40)
    features = torch.randn(5, ranks.DIM, generator=torch.Generator().manual_seed(1))
    kept = sorted(touched(found[0], "step 3") | touched(found[1], "step 3"))
    targets = torch.tensor([kept.index(label) for label in sorted(LABELS)])
    expected = torch.nn.functional.cross_entropy(head(features)[:, kept], targets, label_smoothing=0.1)
    assert torch.allclose(found[0]["step 3"]["loss"], expected, rtol=1e-6)


def test_more_classes_in_the_batch_than_the_share_are_all_kept() -> None:
    targets = torch.tensor([0, 3, 4, 7, 3, -1])
    chosen = sample_rows(targets, 8, 0.25, step_generator(0, 0))
    assert chosen.tolist() == [0, 3, 4, 7]


def test_evaluation_and_a_whole_share_compare_with_all_classes() -> None:
    with classifiers_placed(ClassifierPlacement(sampling=0.5)):
        head = BNNeck(4, 10)
    features, labels = torch.randn(6, 4), torch.arange(6)
    head.eval()
    expected = torch.nn.functional.cross_entropy(head(features), labels)
    assert torch.equal(head.loss(features, labels), expected)
