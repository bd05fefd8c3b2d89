"""The BNNeck, and what gathering does without ranks."""

from __future__ import annotations

import torch

from reid.nn.bnneck import BNNeck
from reid.nn.distributed import gather_rows, local_statistics, rank, world_size


def test_the_bias_of_the_neck_is_frozen_at_zero() -> None:
    head = BNNeck(8, 5)
    optimizer = torch.optim.SGD([p for p in head.parameters() if p.requires_grad], lr=1.0)
    head(torch.randn(6, 8) + 3).square().sum().backward()
    optimizer.step()
    assert not head.norm.bias.requires_grad
    assert not head.norm.bias.any()
    assert {n for n, p in head.named_parameters() if p.requires_grad} == {"norm.weight", "classifier.weight"}


def test_the_classifier_starts_small() -> None:
    weight = BNNeck(256, 400).classifier.weight
    assert abs(float(weight.detach().std()) - 0.001) < 1e-5


def test_logits_are_float32_under_autocast_and_equal_those_without() -> None:
    head, features = BNNeck(32, 10), torch.randn(8, 32)
    exact = head(features)
    with torch.autocast("cpu", torch.bfloat16):
        found = head(features)
    assert found.dtype == torch.float32
    assert torch.equal(found, exact)


def test_alone_gathering_returns_the_rows_themselves() -> None:
    rows = torch.randn(3, 2)
    assert (world_size(), rank()) == (1, 0)
    assert gather_rows(rows) is rows
    with local_statistics():
        assert gather_rows(rows) is rows
