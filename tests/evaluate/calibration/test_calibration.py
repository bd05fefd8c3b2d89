"""Calibration on similarities of known densities: likelihood ratios, thresholds and what may be published."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch

from reid.errors import DataError, UsageError, WeightsError
from reid.evaluate.calibration.calibration import (
    Calibration,
    IsotonicMap,
    LogisticMap,
    Method,
    PairCalibration,
)
from reid.evaluate.calibration.checking import check
from reid.evaluate.calibration.fitting import fit, fit_isotonic, fit_logistic
from reid.evaluate.calibration.operating_points import open_set_points, verification_points
from reid.evaluate.calibration.pair_scores import PairScores, QueryScores, pair_scores
from reid.evaluate.protocols.label_arrays import LabelArrays

SAME, OTHER, SPREAD = 0.5, 0.1, 0.1
"""Similarities are normal with these means: the log ratio is 40 s - 12."""


def drawn(rng: np.random.Generator, positives: int = 4000, negatives: int = 20_000) -> PairScores:
    """Independent pairs of 200 identities."""
    return PairScores(
        rng.normal(SAME, SPREAD, positives),
        rng.integers(0, 200, positives),
        rng.normal(OTHER, SPREAD, negatives),
        rng.integers(0, 200, negatives),
        rng.integers(0, 200, negatives),
    )


def of_identities(rng: np.random.Generator, identities: int, captures: int, effect: float) -> PairScores:
    """All pairs of some captures; an identity shifts all of its similarities by N(0, effect)."""
    own = rng.normal(0, effect, identities)
    label = np.repeat(np.arange(identities), captures)
    a, b = np.triu_indices(len(label), 1)
    a, b = label[a], label[b]
    same = a == b
    positive = rng.normal(SAME, SPREAD, same.sum()) + own[a[same]]
    negative = rng.normal(OTHER, SPREAD, (~same).sum()) + (own[a[~same]] + own[b[~same]]) / 2
    return PairScores(positive, a[same], negative, a[~same], b[~same])


def upper(z: float) -> float:
    """P(N(0, 1) > z)."""
    return math.erfc(z / math.sqrt(2)) / 2


# Likelihood ratios


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


def test_a_probability_is_the_ratio_under_a_prior() -> None:
    pair = calibrated()
    assert pair.likelihood_ratio(0.4) == pytest.approx(math.exp(4))
    for prior in (0.5, 0.01, 1e-6):
        odds = math.exp(4) * prior / (1 - prior)
        assert pair.probability(0.4, prior) == pytest.approx(odds / (1 + odds))
    assert pair.probability(0.3, 0.2) == pytest.approx(0.2)
    for wrong in (0.0, 1.0, -0.1, math.nan):
        with pytest.raises(UsageError, match="prior"):
            pair.probability(0.3, wrong)


def test_too_few_pairs_are_refused() -> None:
    with pytest.raises(DataError, match="1 identities"):
        fit(PairScores(np.ones(3), np.zeros(3, int), np.ones(3), *np.zeros((2, 3), int)), "rgb", "rgb")
    with pytest.raises(DataError, match="0 negative"):
        fit(PairScores(np.ones(2), np.arange(2), np.ones(0), *np.zeros((2, 0), int)), "rgb", "rgb")
    with pytest.raises(DataError, match="not finite"):
        PairScores(np.array([math.nan]), np.zeros(1, int), np.ones(0), *np.zeros((2, 0), int))


# Thresholds


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


# Open set


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


# Stored


def calibrated(**changes: Any) -> PairCalibration:
    """log LR = 40 s - 12."""
    made: dict[str, Any] = {
        "query": "text",
        "gallery": "rgb",
        "map": LogisticMap(slope=40, intercept=-12),
        "floor": -9,
        "ceiling": 12,
        "identities": 30,
        "positive_pairs": 100,
        "negative_pairs": 5000,
        "queries": 60,
        "gallery_items": 60,
    }
    return PairCalibration(**(made | changes))


def stored() -> Calibration:
    pairs = drawn(np.random.default_rng(0), 200, 3000)
    return Calibration(
        model_fingerprint="abc",
        data_fingerprint="def",
        protocol="cross_camera",
        fraction=0.1,
        identities=200,
        pairings=(
            fit(pairs, "rgb", "rgb", resamples=5),
            fit(pairs, "text", "rgb", "isotonic", resamples=5),
        ),
        lacking={"nir->rgb": "no validation sample has 'nir'"},
    )


def test_what_is_stored_comes_back_exactly() -> None:
    written = stored()
    tree = json.loads(json.dumps(written.model_dump(mode="json"), allow_nan=False))
    read = Calibration.load(tree, "abc", "calibration.json")
    assert read == written
    found = read.of("text", "rgb")
    assert found is not None and isinstance(found.map, IsotonicMap)
    assert found.threshold(0.01) == written.pairings[1].threshold(0.01)
    assert read.of("rgb", "text") is None


def test_unknown_keys_and_other_models_are_refused() -> None:
    tree = stored().model_dump(mode="json")
    with pytest.raises(WeightsError, match=r"c\.json: calibrated for model abc, but the weights are xyz"):
        Calibration.load(tree, "xyz", "c.json")
    with pytest.raises(WeightsError, match=r"c\.json: .*protocl: unknown key.*Did you mean 'protocol'"):
        Calibration.load({**tree, "protocl": "x"}, "abc", "c.json")
    with pytest.raises(WeightsError, match="version"):
        Calibration.load({**tree, "version": 2}, "abc", "c.json")
    tree["pairings"][0]["map"]["slope"] = -1
    with pytest.raises(WeightsError, match="slope"):
        Calibration.load(tree, "abc", "c.json")
    with pytest.raises(ValueError, match="must not fall"):
        IsotonicMap(scores=(0, 1), log_ratios=(1, 0))


# Checked elsewhere


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
