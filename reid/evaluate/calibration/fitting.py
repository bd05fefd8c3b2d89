"""Fitting the map from similarity to likelihood ratio.

Both classes of pairs weigh the same, so that the fitted log-odds are log likelihood ratios and no prior is
in them (N. Brümmer and J. du Preez, "Application-independent evaluation of speaker detection", Computer
Speech & Language 20, 2006).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from reid.comparison.calibration import (
    Floats,
    IsotonicMap,
    LogisticMap,
    Method,
    PairCalibration,
    sigmoid,
)
from reid.errors import DataError
from reid.evaluate.calibration.operating_points import RATES, RESAMPLES, open_set_points, verification_points
from reid.evaluate.calibration.pair_scores import PairScores

_STEPS = 100
_TOLERANCE = 1e-10


def fit(
    scores: PairScores,
    query: str,
    gallery: str,
    method: Method = "logistic",
    rates: Sequence[float] = RATES,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> PairCalibration:
    """Calibrate the pairing of two subsets, given by name.

    Raises DataError where fewer than two identities have a positive pair, or no pair is negative.
    """
    if scores.identities < 2 or not len(scores.negative):
        raise DataError(
            f"positive pairs of {scores.identities} identities and {len(scores.negative)} negative pairs: "
            "two identities and a negative pair are the least"
        )
    make = fit_isotonic if method == "isotonic" else fit_logistic
    queries_scored = scores.by_query
    return PairCalibration(
        query=query,
        gallery=gallery,
        map=make(scores.positive, scores.negative),
        floor=-math.log(len(scores.positive) + 1),
        ceiling=math.log(len(scores.negative) + 1),
        identities=scores.identities,
        positive_pairs=len(scores.positive),
        negative_pairs=len(scores.negative),
        queries=0 if queries_scored is None else len(queries_scored.mate),
        gallery_items=0 if queries_scored is None else queries_scored.items,
        verification=verification_points(scores, rates, resamples, seed),
        open_set=() if queries_scored is None else open_set_points(queries_scored, rates, resamples, seed),
    )


def fit_logistic(positive: Floats, negative: Floats) -> LogisticMap:
    """Logistic regression on similarities, classes of equal weight; a falling line becomes "no evidence".

    Targets are kept off 0 and 1 by one pair each, so that separable similarities have a finite slope
    (J. Platt, "Probabilistic outputs for support vector machines", 1999, section 2.2).
    """
    n, m = len(positive), len(negative)
    values = np.concatenate([positive, negative])
    centre, spread = float(values.mean()), float(values.std())
    if spread == 0:
        return LogisticMap(slope=0, intercept=0)
    x = (values - centre) / spread
    target = np.concatenate([np.full(n, (n + 1) / (n + 2)), np.full(m, 1 / (m + 2))])
    weight = np.concatenate([np.full(n, 0.5 / n), np.full(m, 0.5 / m)])
    slope, intercept = _newton(x, target, weight)
    if slope <= 0:
        return LogisticMap(slope=0, intercept=0)
    return LogisticMap(slope=slope / spread, intercept=intercept - slope * centre / spread)


def fit_isotonic(positive: Floats, negative: Floats) -> IsotonicMap:
    """The best map that never falls, by pooling adjacent violators, classes of equal weight.

    One negative pair above and one positive pair below all others keep the ratios finite (B. Zadrozny and
    C. Elkan, "Transforming classifier scores into accurate multiclass probability estimates", KDD 2002).
    """
    values = np.concatenate([positive, negative])
    levels, place = np.unique(values, return_inverse=True)
    share = np.zeros((2, len(levels)))  # of each class's weight, at every distinct similarity
    share[1] = np.bincount(place[: len(positive)], minlength=len(levels)) / len(positive)
    share[0] = np.bincount(place[len(positive) :], minlength=len(levels)) / len(negative)
    share[1, 0] += 1 / len(positive)
    share[0, -1] += 1 / len(negative)
    blocks: list[list[float]] = []  # [lowest, highest similarity, negative share, positive share]
    for low, high, no, yes in _runs(levels, share):
        blocks.append([low, high, no, yes])
        while len(blocks) > 1 and blocks[-2][3] * blocks[-1][2] >= blocks[-1][3] * blocks[-2][2]:
            _, high, no, yes = blocks.pop()
            blocks[-1] = [blocks[-1][0], high, blocks[-1][2] + no, blocks[-1][3] + yes]
    knots: list[tuple[float, float]] = []
    for low, high, no, yes in blocks:
        ratio = math.log(yes) - math.log(no)
        knots += [(low, ratio), (high, ratio)] if high > low else [(low, ratio)]
    return IsotonicMap(scores=tuple(k[0] for k in knots), log_ratios=tuple(k[1] for k in knots))


def _newton(x: Floats, target: Floats, weight: Floats) -> tuple[float, float]:
    """(slope, intercept) of the least weighted cross-entropy, by Newton steps that never go uphill."""
    slope, intercept = 0.0, 0.0
    loss = _cross_entropy(slope * x + intercept, target, weight)
    for _ in range(_STEPS):
        p = sigmoid(slope * x + intercept)
        error, curve = weight * (p - target), weight * p * (1 - p)
        gradient = np.array([error @ x, error.sum()])
        if np.abs(gradient).max() < _TOLERANCE:
            break
        cross = curve @ x
        hessian = np.array([[curve @ (x * x), cross], [cross, curve.sum()]]) + 1e-12 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        factor = 1.0
        while factor > 1e-6:
            trial = (slope - factor * step[0], intercept - factor * step[1])
            found = _cross_entropy(trial[0] * x + trial[1], target, weight)
            if found <= loss:
                break
            factor /= 2
        else:
            break
        slope, intercept, loss = float(trial[0]), float(trial[1]), found
    return slope, intercept


def _cross_entropy(z: Floats, target: Floats, weight: Floats) -> float:
    return float(weight @ (np.logaddexp(0, z) - target * z))


def _runs(levels: Floats, share: Floats) -> list[tuple[float, float, float, float]]:
    """Neighbours of one class only, joined: a pooled block never ends within them."""
    kind = np.where(share[0] == 0, 1, np.where(share[1] == 0, 0, 2))
    new = np.r_[True, (kind[1:] != kind[:-1]) | (kind[1:] == 2)]
    first = np.flatnonzero(new)
    last = np.r_[first[1:], len(levels)] - 1
    no, yes = (np.add.reduceat(side, first) for side in share)
    return list(zip(levels[first].tolist(), levels[last].tolist(), no.tolist(), yes.tolist(), strict=True))
