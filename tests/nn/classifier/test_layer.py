"""The classifier of identity heads: whole by default, split, or without a weight."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

from reid.nn.bnneck import BNNeck
from reid.nn.classifier.layer import (
    Classifier,
    classifiers,
    embedding_state,
    load_embedding_state,
    split_parameters,
)
from reid.nn.classifier.placement import ClassifierPlacement, RowRange, classifiers_placed, row_share


def test_rows_are_shared_in_rank_order_without_gap() -> None:
    for total, world in ((10, 3), (2, 4), (5_000_000, 64)):
        shares = [row_share(total, rank, world) for rank in range(world)]
        assert shares[0].first == 0 and shares[-1].stop == total
        assert all(a.stop == b.first for a, b in pairwise(shares))
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_split_classifier_is_told_by_its_name_and_is_no_part_of_the_embedding() -> None:
    with classifiers_placed(ClassifierPlacement(1, 2)):
        split = nn.ModuleDict({"head": BNNeck(4, 7)})
    assert split_parameters(split) == {"head.classifier.weight": RowRange(4, 7, 7)}
    assert "head.classifier.weight" not in embedding_state(split)
    before = split.get_parameter("head.classifier.weight").detach().clone()
    load_embedding_state(split, {name: x + 1 for name, x in embedding_state(split).items()})
    assert torch.equal(split.get_parameter("head.classifier.weight"), before)
    assert float(split.get_parameter("head.norm.weight").detach()[0]) == 2


def test_by_default_a_classifier_is_whole_and_has_nothing_apart() -> None:
    whole = BNNeck(4, 7)
    assert list(classifiers(whole)) == ["classifier.weight"]
    assert split_parameters(whole) == {}
    assert embedding_state(whole).keys() == whole.state_dict().keys()


def test_for_embedding_alone_a_classifier_has_no_weight() -> None:
    with classifiers_placed(ClassifierPlacement(kept=False)):
        head = BNNeck(4, 5_000_000)
    assert [name for name, _ in head.named_parameters()] == ["norm.weight", "norm.bias"]


def test_loss_and_logits_are_float32_under_autocast() -> None:
    layer, features, labels = Classifier(8, 5), torch.randn(3, 8), torch.arange(3)
    exact = layer.loss(features, labels, 0.1)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(features).dtype == torch.float32
        assert torch.equal(layer.loss(features, labels, 0.1), exact)
