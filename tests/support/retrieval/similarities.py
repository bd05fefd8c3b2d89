"""Similarities of known densities, and the calibration that fits them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from reid.comparison.calibration import (
    LogisticMap,
    PairCalibration,
)
from reid.evaluate.calibration.pair_scores import PairScores

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
