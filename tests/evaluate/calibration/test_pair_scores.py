"""Which pairs of vectors are compared for a calibration."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from reid.evaluate.calibration.pair_scores import pair_scores
from reid.evaluate.protocols.label_arrays import LabelArrays


def test_a_query_is_compared_with_its_own_and_with_all_others() -> None:
    """By a matrix of four queries and three items: (a, b | a), cosines to see by eye."""
    axes = torch.eye(4)
    g = torch.stack([axes[0], axes[1], axes[0] + axes[1]])
    q = torch.stack([axes[0], axes[1], axes[0] - axes[1], axes[2]])
    scores = pair_scores(q, g, labelled([0, 1, 0, 5]), labelled([0, 1, 0]), not_the_first)
    half = math.sqrt(0.5)
    assert scores.by_query is not None
    # Item 0 is excluded for query 0, whose mate is then the sum at 45 degrees.
    np.testing.assert_allclose(scores.by_query.mate, [half, 1, half, math.nan], atol=1e-6)
    np.testing.assert_allclose(scores.by_query.stranger, [0, half, -half, 0], atol=1e-6)
    np.testing.assert_allclose(np.sort(scores.positive), [0, half, half, 1], atol=1e-6)
    assert len(scores.negative) == 12 - 1 - 4
    assert sorted(zip(scores.query.tolist(), scores.gallery.tolist(), strict=True)).count((5, 0)) == 2
    assert scores.by_query.items == 3


def labelled(pid: list[int]) -> LabelArrays:
    """Labels with identities alone."""
    names = ("camid", "viewid", "location", "modalities", "samples", "contents", "sources", "source_cameras")
    return LabelArrays(pid=torch.tensor(pid), **{name: torch.arange(len(pid)) for name in names})


def not_the_first(q: LabelArrays, g: LabelArrays) -> torch.Tensor:
    """The pair of the first query and the first item."""
    return (q.samples[:, None] == 0) & (g.samples[None, :] == 0)


def test_two_captures_compared_both_ways_are_one_pair() -> None:
    features = torch.nn.functional.normalize(torch.randn(6, 8, generator=torch.manual_seed(0)), dim=1)
    labels = labelled([0, 0, 0, 1, 1, 2])

    def itself(q: LabelArrays, g: LabelArrays) -> torch.Tensor:
        return q.samples[:, None] == g.samples[None, :]

    keys = list("badcfe")
    twice = pair_scores(features, features, labels, labels, itself)
    once = pair_scores(features, features, labels, labels, itself, keys=(keys, keys), chunk=4)
    assert (len(twice.positive), len(twice.negative)) == (8, 22)
    assert (len(once.positive), len(once.negative)) == (4, 11)
    np.testing.assert_allclose(np.sort(once.negative), np.sort(twice.negative)[::2], atol=1e-6)
    apart = pair_scores(features, features, labels, labels, itself, keys=(keys, list("uvwxyz")))
    assert len(apart.negative) == 22


def test_negative_pairs_beyond_a_limit_are_drawn_evenly_and_positive_ones_all_stay() -> None:
    features = torch.nn.functional.normalize(torch.randn(120, 4, generator=torch.manual_seed(0)), dim=1)
    labels = labelled([i // 4 for i in range(120)])
    whole = pair_scores(features, features, labels, labels)
    drawn_few = pair_scores(features, features, labels, labels, negatives=4000, chunk=50)
    assert len(drawn_few.positive) == len(whole.positive) == 120 * 4
    assert len(drawn_few.negative) == pytest.approx(4000 * len(whole.negative) / 120**2, rel=0.05)
    assert np.median(drawn_few.negative) == pytest.approx(np.median(whole.negative), abs=0.05)
    assert len(np.unique(drawn_few.query)) == 30
