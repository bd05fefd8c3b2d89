"""A calibration is checked on pairs that it was not fitted to."""

from __future__ import annotations

import json

import numpy as np
import pytest

from reid.comparison.calibration import (
    LogisticMap,
)
from reid.errors import DataError
from reid.evaluate.calibration.checking import check
from reid.evaluate.calibration.fitting import fit
from reid.evaluate.calibration.pair_scores import PairScores
from tests.support.retrieval.similarities import OTHER, SPREAD, calibrated, drawn, upper


def test_a_true_calibration_has_small_errors_and_keeps_its_rates_elsewhere() -> None:
    rng = np.random.default_rng(5)
    pair = fit(drawn(rng), "rgb", "rgb", resamples=3)
    found = check(pair, drawn(rng), resamples=60)
    assert found.ece < 0.01
    assert found.brier < 0.03
    assert found.cllr < 0.15
    assert [rate.fpr for rate in found.rates] == [0.1, 0.01, 0.001]
    for rate in found.rates:
        assert rate.fpr_interval is not None and rate.tpr_interval is not None
        assert rate.fpr_interval[0] <= upper((rate.threshold - OTHER) / SPREAD) <= rate.fpr_interval[1]
        assert rate.tpr_interval[0] <= rate.tpr <= rate.tpr_interval[1]
    json.dumps(found.to_dict(), allow_nan=False)
    rare = check(pair, drawn(rng), prior=0.01, resamples=2)
    assert rare.brier < found.brier


def test_a_false_calibration_shows() -> None:
    scores = drawn(np.random.default_rng(6))
    silent = check(calibrated(map=LogisticMap(slope=0, intercept=0)), scores)
    assert (silent.cllr, silent.brier) == pytest.approx((1, 0.25))
    assert silent.ece == pytest.approx(0)
    overdone = check(calibrated(map=LogisticMap(slope=400, intercept=-60), floor=-99, ceiling=99), scores)
    assert overdone.ece > 0.1
    assert overdone.cllr > 1
    shifted = fit(
        PairScores(
            scores.positive - 0.2, scores.identity, scores.negative - 0.2, scores.query, scores.gallery
        ),
        "rgb",
        "rgb",
        resamples=2,
    )
    assert check(shifted, scores, resamples=2).rates[1].actual_fpr > 0.1


def test_checking_needs_pairs_of_both_kinds() -> None:
    with pytest.raises(DataError, match="text->rgb: 0 positive"):
        check(calibrated(), PairScores(np.ones(0), np.ones(0, int), np.ones(9), *np.ones((2, 9), int)))
