"""Operating points: thresholds for a chosen rate of false matches, and the detection rate at each.

Verification decides whether a pair shows one identity; its negative pairs give the false-positive rate (FPR).
Open-set identification decides who in the gallery a query shows, if anyone. A false alarm is a query whose
identity is not in the gallery and that has an item at or above the threshold (P. J. Phillips, P. Grother and
R. Micheals, "Evaluation methods in face recognition", Handbook of Face Recognition, 2005).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from reid.comparison.calibration import Interval, OpenSetPoint, VerificationPoint
from reid.evaluate.calibration.pair_scores import Floats, PairScores, QueryScores

RATES = (1e-1, 1e-2, 1e-3, 1e-4)
EVENTS = 10
"""False matches that a published rate rests on: x needs 10 / x negatives."""
RESAMPLES = 400
LEVEL = 0.95
_TAIL = 2.5
"""Times the share of negatives that is needed: how many of them a resample looks at first."""


def enough_negatives(negatives: int, rate: float) -> bool:
    """Whether there are enough negatives to estimate a rate."""
    return negatives >= round(EVENTS / rate)


def verification_points(
    scores: PairScores, rates: Sequence[float] = RATES, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[VerificationPoint, ...]:
    """TPR at each FPR for which there are enough negative pairs, with 95 % bootstrap intervals.

    Whole identities are resampled; a pair's weight is the product of its identities' counts (R. M. Bolle, N.
    K. Ratha and S. Pankanti, "Error analysis of pattern recognition systems: the subsets bootstrap", Computer
    Vision and Image Understanding 93, 2004).
    """
    usable = [x for x in rates if enough_negatives(len(scores.negative), x)]
    if not usable or not len(scores.positive):
        return ()
    pairs = _SortedPairs(scores)
    allowed = [int(x * len(scores.negative) + 1e-9) for x in usable]
    thresholds = [float(np.nextafter(pairs.negative[place], np.inf)) for place in allowed]
    counts = [pairs.reaching(threshold) for threshold in thresholds]
    rows = np.full((resamples, 2, len(usable)), np.nan)
    for r, weight in enumerate(identity_resamples(pairs.identities, resamples, seed)):
        shares = pairs.shares(weight, max(usable))
        if shares is None:
            continue
        for i, x in enumerate(usable):
            place = int(np.searchsorted(shares[1], x * (1 + 1e-9), side="right"))
            rows[r, 0, i] = _of_first(shares[0], pairs.above(place))
            rows[r, 1, i] = _of_first(shares[1], counts[i][1])
    return tuple(
        VerificationPoint(
            fpr=x,
            threshold=thresholds[i],
            tpr=counts[i][0] / len(scores.positive),
            tpr_interval=interval(rows[:, 0, i], counts[i][0] / len(scores.positive), scores.identities),
            fpr_interval=interval(rows[:, 1, i]),
        )
        for i, x in enumerate(usable)
    )


def rates_at(
    scores: PairScores, thresholds: Sequence[float], resamples: int = RESAMPLES, seed: int = 0
) -> list[tuple[float, Interval | None, float, Interval | None]]:
    """(FPR, its interval, TPR, its interval) at given thresholds; intervals as in `verification_points`."""
    if not thresholds:
        return []
    pairs = _SortedPairs(scores)
    counts = [pairs.reaching(threshold) for threshold in thresholds]
    deepest = max(n for _, n in counts) / len(scores.negative)
    rows = np.full((resamples, 2, len(thresholds)), np.nan)
    for r, weight in enumerate(identity_resamples(pairs.identities, resamples, seed)):
        shares = pairs.shares(weight, deepest)
        if shares is not None:
            rows[r] = [[_of_first(shares[side], count[side]) for count in counts] for side in (0, 1)]
    found = []
    for i, (p, n) in enumerate(counts):
        tpr = p / len(scores.positive)
        around = interval(rows[:, 0, i], tpr, scores.identities)
        found.append((n / len(scores.negative), interval(rows[:, 1, i]), tpr, around))
    return found


def open_set_points(
    scores: QueryScores, rates: Sequence[float] = RATES, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[OpenSetPoint, ...]:
    """Detection-and-identification rate at each false-alarm rate for which there are enough queries.

    False alarms are measured on every query, with its identity removed from the gallery. A detection is a
    query whose best item has its identity and reaches the threshold. Intervals resample the queries'
    identities; the gallery stays the same.
    """
    trials = np.isfinite(scores.stranger)
    usable = [x for x in rates if enough_negatives(int(trials.sum()), x)]
    mated = np.isfinite(scores.mate)
    if not usable or not mated.any():
        return ()
    stranger = scores.stranger[trials]
    highest = -np.sort(-stranger)
    first = mated & ~(scores.stranger >= scores.mate)  # the right item leads; a tie does not count
    identities, code = np.unique(scores.identity, return_inverse=True)
    weights = np.stack(list(identity_resamples(len(identities), resamples, seed)))[:, code]  # (R, Q)
    points = []
    for x in usable:
        threshold = float(np.nextafter(highest[int(x * len(stranger) + 1e-9)], np.inf))
        found = first & (np.nan_to_num(scores.mate, nan=-np.inf) >= threshold)
        alarm = np.nan_to_num(scores.stranger, nan=-np.inf) >= threshold
        rate = float(found[mated].mean())
        share = _share(weights, found, mated)
        points.append(
            OpenSetPoint(
                false_alarm_rate=x,
                threshold=threshold,
                detection_rate=rate,
                detection_interval=interval(share, rate, len(np.unique(code[mated]))),
                false_alarm_interval=interval(_share(weights, alarm, trials)),
            )
        )
    return tuple(points)


def identity_resamples(identities: int, resamples: int, seed: int) -> Iterator[Floats]:
    """How often each of I identities is drawn, with replacement, `resamples` times: (I,) float64."""
    rng = np.random.default_rng(seed)
    chances = np.full(identities, 1 / identities)
    for _ in range(resamples):
        yield rng.multinomial(identities, chances).astype(np.float64)


def interval(values: Floats, rate: float | None = None, identities: int = 0) -> Interval | None:
    """The middle 95 % of resampled values; None if fewer than half of the resamples have one.

    Resampling shows no spread for a `rate` of 0 or 1. There the bound is the exact binomial one, for as many
    independent trials as there are identities.
    """
    known = values[np.isfinite(values)]
    if len(known) < max(2, len(values) / 2):
        return None
    outside = (1 - LEVEL) / 2
    low, high = (float(v) for v in np.quantile(known, [outside, 1 - outside]))
    if rate == 1:
        low = min(low, outside ** (1 / identities))
    elif rate == 0:
        high = max(high, 1 - outside ** (1 / identities))
    return low, high


class _SortedPairs:
    """Pairs in descending order of similarity, with the identities that weight them in a resample."""

    def __init__(self, scores: PairScores) -> None:
        known, code = np.unique(
            np.concatenate([scores.identity, scores.query, scores.gallery]), return_inverse=True
        )
        count, total = len(scores.positive), len(scores.negative)
        down = np.argsort(-scores.positive, kind="stable")
        self.positive, self._owner = scores.positive[down], code[:count][down]
        down = np.argsort(-scores.negative, kind="stable")
        self.negative = scores.negative[down]
        self._sides = code[count : count + total][down], code[count + total :][down]
        self.identities = len(known)
        joint, self._joint_count = np.unique(self._sides[0] * len(known) + self._sides[1], return_counts=True)
        self._joint = joint // len(known), joint % len(known)

    def reaching(self, threshold: float) -> tuple[int, int]:
        """How many positive and how many negative pairs are at or above a threshold."""
        p, n = (int(np.searchsorted(-s, -threshold, side="right")) for s in (self.positive, self.negative))
        return p, n

    def above(self, place: int) -> int:
        """How many positive pairs are above the negative pair at a place."""
        return int(np.searchsorted(-self.positive, -self.negative[place], side="left"))

    def shares(self, weight: Floats, deepest: float) -> tuple[Floats, Floats] | None:
        """Cumulated shares of positive and negative pairs for one draw of identities.

        The negative side may end once it is beyond `deepest`. None where the draw leaves a class empty.
        """
        total = float((self._joint_count * weight[self._joint[0]] * weight[self._joint[1]]).sum())
        positives = np.cumsum(weight[self._owner])
        if total == 0 or positives[-1] == 0:
            return None
        size = len(self.negative)
        negatives = self._cumulated(weight, min(size, int(_TAIL * deepest * size) + 1))
        if negatives[-1] <= deepest * (1 + 1e-6) * total:
            negatives = self._cumulated(weight, size)
        return positives / positives[-1], negatives / total

    def _cumulated(self, weight: Floats, count: int) -> Floats:
        query_place, shown = self._sides
        summed: Floats = np.cumsum(weight[query_place[:count]] * weight[shown[:count]])
        return summed


def _of_first(shares: Floats, count: int) -> float:
    return float(shares[count - 1]) if count else 0.0


def _share(weights: Floats, counted: npt.NDArray[np.bool_], among: npt.NDArray[np.bool_]) -> Floats:
    """(R,) the weighted share of `counted` among `among` in each resample."""
    whole = weights[:, among].sum(axis=1)
    with np.errstate(invalid="ignore"):
        shares: Floats = weights[:, counted & among].sum(axis=1) / whole
    return shares
