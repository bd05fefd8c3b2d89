"""Measures how well a calibration holds on data that it was not fitted on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from reid.comparison.calibration import Floats, Interval, PairCalibration, posterior
from reid.errors import DataError
from reid.evaluate.calibration.operating_points import RESAMPLES, rates_at
from reid.evaluate.calibration.pair_scores import PairScores

BINS = 15


@dataclass(frozen=True)
class RateCheck:
    """A threshold on other data: `fpr` is the rate that it was chosen for, `actual_fpr` the measured one."""

    fpr: float
    threshold: float
    actual_fpr: float
    fpr_interval: Interval | None
    tpr: float
    tpr_interval: Interval | None


@dataclass(frozen=True)
class CalibrationCheck:
    """Errors of the probabilities at `prior`, and the measured rates of the thresholds.

    `ece` and `brier` are 0 for perfect probabilities. With a prior of 0.5, constant probabilities have a
    Brier score of 0.25 and a `cllr` of 1.
    """

    query: str
    gallery: str
    identities: int
    positive_pairs: int
    negative_pairs: int
    prior: float
    ece: float
    brier: float
    cllr: float
    rates: tuple[RateCheck, ...]

    def to_dict(self) -> dict[str, Any]:
        """For report.json."""
        return asdict(self)


def check(
    calibration: PairCalibration,
    scores: PairScores,
    prior: float = 0.5,
    bins: int = BINS,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> CalibrationCheck:
    """Compare calibrated probabilities of pairs with the truth, both classes weighted to `prior`.

    ECE: the mean distance of probability and frequency over equally wide bins (C. Guo et al., "On
    calibration of modern neural networks", ICML 2017, section 2). Cllr: the cost of log likelihood ratios in
    bits, at any prior (N. Brümmer and J. du Preez, 2006, section 4). Raises DataError for an empty class,
    UsageError for a prior outside (0, 1).
    """
    if not len(scores.positive) or not len(scores.negative):
        raise DataError(
            f"{calibration.name}: {len(scores.positive)} positive and {len(scores.negative)} negative pairs; "
            "a calibration is checked on both."
        )
    ratios = [calibration.log_likelihood_ratio(side) for side in (scores.positive, scores.negative)]
    p = np.concatenate([posterior(side, prior) for side in ratios])
    n, m = len(scores.positive), len(scores.negative)
    truth = np.concatenate([np.ones(n), np.zeros(m)])
    weight = np.concatenate([np.full(n, prior / n), np.full(m, (1 - prior) / m)])
    bits = float(np.logaddexp(0, -ratios[0]).mean() + np.logaddexp(0, ratios[1]).mean()) / (2 * np.log(2))
    thresholds = [point.threshold for point in calibration.verification]
    found = rates_at(scores, thresholds, resamples, seed)
    return CalibrationCheck(
        query=calibration.query,
        gallery=calibration.gallery,
        identities=scores.identities,
        positive_pairs=n,
        negative_pairs=m,
        prior=prior,
        ece=_ece(p, truth, weight, bins),
        brier=float(weight @ (p - truth) ** 2),
        cllr=bits,
        rates=tuple(
            RateCheck(point.fpr, point.threshold, *measured)
            for point, measured in zip(calibration.verification, found, strict=True)
        ),
    )


def _ece(p: Floats, truth: Floats, weight: Floats, bins: int) -> float:
    place = np.minimum((p * bins).astype(np.int64), bins - 1)
    predicted, was = (np.bincount(place, weights=weight * v, minlength=bins) for v in (p, truth))
    return float(np.abs(predicted - was).sum())
