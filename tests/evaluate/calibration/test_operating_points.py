"""Thresholds, what may be published of them, and open-set rates."""

from __future__ import annotations

import math

import numpy as np
import pytest

from reid.errors import UsageError
from reid.evaluate.calibration.fitting import fit
from reid.evaluate.calibration.operating_points import open_set_points, verification_points
from reid.evaluate.calibration.pair_scores import PairScores, QueryScores
from tests.support.retrieval.similarities import OTHER, SAME, SPREAD, drawn, of_identities, upper


def test_thresholds_by_hand() -> None:
    ids = np.arange(100)
    scores = PairScores(np.array([5.0, 90, 91, 99]), np.arange(4), np.arange(100.0), ids, ids[::-1])
    (point,) = verification_points(scores, resamples=20)
    assert point.fpr == 0.1
    assert 89 < point.threshold < 89.001  # 90 .. 99 are the ten that may pass
    assert point.tpr == 3 / 4
    tied = PairScores(np.ones(4), np.arange(4), np.r_[np.zeros(80), np.ones(20)], ids, ids[::-1])
    (point,) = verification_points(tied, resamples=20)
    assert point.threshold > 1  # twenty equal ones cannot pass in part
    assert point.tpr == 0


@pytest.mark.parametrize(("negatives", "published"), [(99, 0), (100, 1), (999, 1), (1000, 2), (100_000, 4)])
def test_a_rate_is_published_with_ten_false_matches_at_least(negatives: int, published: int) -> None:
    found = fit(drawn(np.random.default_rng(0), 50, negatives), "text", "rgb", resamples=3)
    rates = [0.1, 0.01, 0.001, 0.0001]
    assert [point.fpr for point in found.verification] == rates[:published]
    for rate in rates[:published]:
        assert found.threshold(rate) == next(p.threshold for p in found.verification if p.fpr == rate)
    for rate in rates[published:]:
        with pytest.raises(UsageError, match=rf"text->rgb has no threshold for {rate:g}.*{negatives}"):
            found.threshold(rate)


def test_thresholds_do_elsewhere_what_they_promise() -> None:
    rng = np.random.default_rng(4)
    for point in fit(drawn(rng, negatives=100_000), "rgb", "rgb", resamples=100).verification:
        actual = upper((point.threshold - OTHER) / SPREAD)
        assert point.fpr_interval is not None and point.tpr_interval is not None
        assert point.fpr_interval[0] < actual < point.fpr_interval[1]
        assert point.tpr_interval[0] < upper((point.threshold - SAME) / SPREAD) < point.tpr_interval[1]
        assert point.tpr_interval[0] <= point.tpr <= point.tpr_interval[1]


def test_intervals_cover_the_truth_although_pairs_share_identities() -> None:
    """In 95 % of data sets, up to chance; intervals that take pairs for independent cover far less."""
    effect, repeats = 0.08, 40
    away, together = math.hypot(SPREAD, effect / math.sqrt(2)), math.hypot(SPREAD, effect)
    true_threshold = OTHER + 1.2815515655446004 * away
    true_tpr = upper((true_threshold - SAME) / together)
    covered = naive = 0
    for seed in range(repeats):
        scores = of_identities(np.random.default_rng(seed), 40, 3, effect)
        (point,) = verification_points(scores, rates=(0.1,), resamples=150, seed=seed)
        assert point.tpr_interval is not None and point.fpr_interval is not None
        covered += point.tpr_interval[0] <= true_tpr <= point.tpr_interval[1]
        covered += point.fpr_interval[0] <= upper((point.threshold - OTHER) / away) <= point.fpr_interval[1]
        error = 1.96 * math.sqrt(0.1 * 0.9 / len(scores.negative))
        naive += abs(upper((point.threshold - OTHER) / away) - 0.1) < error
    assert covered >= 0.85 * 2 * repeats
    assert naive < 0.7 * repeats


def test_too_few_identities_have_no_interval() -> None:
    ids = np.zeros(100, int)
    scores = PairScores(np.ones(9), np.zeros(9, int), np.zeros(100), ids, ids + 1)
    (point,) = verification_points(scores, resamples=50)  # half of the draws have one identity only
    assert point.tpr == 1
    assert point.tpr_interval is None or point.tpr_interval[1] == 1
    alone = PairScores(np.ones(9), np.zeros(9, int), np.zeros(100), *np.array([[1], [2]]).repeat(100, 1))
    (point,) = verification_points(alone, resamples=50)  # and here two thirds lack one of three
    assert point.tpr_interval is None


def test_a_rate_of_one_or_zero_is_as_uncertain_as_its_identities_are_few() -> None:
    rng = np.random.default_rng(0)
    for identities in (10, 100):
        owner = rng.integers(0, identities, (2, 400))
        for level, wanted in (
            (1.0, (0.025 ** (1 / identities), 1)),
            (-1.0, (0, 1 - 0.025 ** (1 / identities))),
        ):
            found = PairScores(
                np.full(identities, level), np.arange(identities), rng.uniform(0, 0.5, 400), *owner
            )
            assert verification_points(found, resamples=50)[0].tpr_interval == pytest.approx(wanted)


def test_open_set_rates_by_hand() -> None:
    # Twenty queries; without their identity they find 0.01 .. 0.20. At a rate of 0.5 ten may raise an alarm.
    stranger = np.arange(1, 21) / 100
    mate = np.full(20, math.nan)
    mate[[0, 1, 2, 15]] = [0.30, 0.10, 0.105, 0.155]  # found; too low; found; behind a stranger at 0.16
    scores = QueryScores(mate, stranger, np.arange(20), 7)
    (point,) = open_set_points(scores, rates=(0.5, 0.1), resamples=30)
    assert point.false_alarm_rate == 0.5
    assert 0.10 < point.threshold < 0.1001
    assert point.detection_rate == 2 / 4
    assert point.false_alarm_interval is not None
    assert point.false_alarm_interval[0] < 0.5 < point.false_alarm_interval[1]
    assert open_set_points(QueryScores(mate[:19], stranger[:19], np.arange(19), 7), rates=(0.5,)) == ()
