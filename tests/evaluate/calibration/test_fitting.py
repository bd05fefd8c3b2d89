"""Likelihood ratios fitted to similarities of known densities."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from reid.comparison.calibration import (
    IsotonicMap,
    LogisticMap,
    Method,
)
from reid.errors import DataError
from reid.evaluate.calibration.fitting import fit, fit_isotonic, fit_logistic
from reid.evaluate.calibration.pair_scores import PairScores
from tests.support.retrieval.similarities import drawn


@pytest.mark.parametrize(("method", "tolerance"), [("logistic", 0.5), ("isotonic", 0.9)])
def test_known_densities_give_back_their_likelihood_ratio(method: Method, tolerance: float) -> None:
    found = fit(drawn(np.random.default_rng(0)), "rgb", "rgb", method, resamples=2)
    for score in np.linspace(0.2, 0.4, 9):
        expected = 40 * score - 12
        assert math.log(found.likelihood_ratio(score)) == pytest.approx(expected, abs=tolerance)
    assert found.map.method == method


@pytest.mark.parametrize("method", ["logistic", "isotonic"])
@pytest.mark.parametrize("seed", range(5))
def test_more_alike_is_never_less_likely(method: Method, seed: int) -> None:
    rng = np.random.default_rng(seed)
    heavy = PairScores(
        rng.standard_t(2, 60) + rng.normal(),
        np.arange(60) % 9,
        rng.standard_t(2, 300),
        *np.ones((2, 300), int),
    )
    found = fit(heavy, "rgb", "rgb", method, resamples=2)
    ratios = found.log_likelihood_ratio(np.linspace(-9, 9, 400))
    assert (np.diff(ratios) >= 0).all()
    assert np.isfinite(ratios).all()


@pytest.mark.parametrize("make", [fit_logistic, fit_isotonic])
def test_the_share_of_positive_pairs_is_no_part_of_the_ratio(make: Any) -> None:
    scores = drawn(np.random.default_rng(1), 5000, 5000)
    few, many = make(scores.positive, scores.negative), make(np.tile(scores.positive, 10), scores.negative)
    at = np.linspace(0.22, 0.38, 7)
    np.testing.assert_allclose(few.log_ratio(at), many.log_ratio(at), atol=0.15)


def test_scores_that_tell_nothing_or_the_contrary_are_no_evidence() -> None:
    rng = np.random.default_rng(2)
    high, low = rng.normal(1, 1, 300), rng.normal(0, 1, 300)
    assert fit_logistic(low, high) == LogisticMap(slope=0, intercept=0)
    assert fit_logistic(np.ones(9), np.ones(9)) == LogisticMap(slope=0, intercept=0)
    assert np.abs(fit_isotonic(low, high).log_ratio(np.array([-1.0, 0.0, 1.0]))).max() < 0.2


@pytest.mark.parametrize("method", ["logistic", "isotonic"])
def test_separable_scores_claim_no_more_than_their_pairs_can_show(method: Method) -> None:
    scores = PairScores(
        np.array([0.8, 0.9, 0.9]), np.arange(3), np.linspace(0, 0.2, 50), *np.zeros((2, 50), int)
    )
    found = fit(scores, "rgb", "rgb", method, resamples=2)
    assert 1 < found.likelihood_ratio(5.0) <= 51 * (1 + 1e-9)
    assert 1 > found.likelihood_ratio(-5.0) >= 1 / 4 * (1 - 1e-9)


def test_isotonic_pools_violators_by_hand() -> None:
    # Balanced shares from low to high: negative, positive, negative, positive, and one pair beyond each end.
    found = fit_isotonic(np.array([0.2, 0.4]), np.array([0.1, 0.3]))
    assert found == IsotonicMap(scores=(0.1, 0.4), log_ratios=(0.0, 0.0))
    found = fit_isotonic(np.array([0.3, 0.4, 0.4]), np.array([0.1, 0.2, 0.1]))
    assert found.scores == (0.1, 0.2, 0.3, 0.4)
    low, high = math.log(1 / 3), math.log(3)  # (0 + 1) / 3 against 3 / 3, and 3 / 3 against (0 + 1) / 3
    assert found.log_ratios == pytest.approx((low, low, high, high))


def test_too_few_pairs_are_refused() -> None:
    with pytest.raises(DataError, match="1 identities"):
        fit(PairScores(np.ones(3), np.zeros(3, int), np.ones(3), *np.zeros((2, 3), int)), "rgb", "rgb")
    with pytest.raises(DataError, match="0 negative"):
        fit(PairScores(np.ones(2), np.arange(2), np.ones(0), *np.zeros((2, 0), int)), "rgb", "rgb")
    with pytest.raises(DataError, match="not finite"):
        PairScores(np.array([math.nan]), np.zeros(1, int), np.ones(0), *np.zeros((2, 0), int))
