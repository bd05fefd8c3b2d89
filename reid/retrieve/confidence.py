"""How sure a search is: probabilities of its hits, and which of them are sure enough."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from reid.comparison.calibration import PairCalibration
from reid.errors import UsageError
from reid.retrieve.answers import FoundItem, SearchQuery

FEW_IDENTITIES = 20
"""Below so many validation identities, a result with probabilities says so."""


@dataclass(frozen=True)
class Confidence:
    """What one query's hits are judged by: the calibration of each subset that items are compared by.

    Without any, `prior` is None and every hit passes. `lacking` says why a subset has none. `items` are
    ranked.
    """

    pairs: Mapping[str, PairCalibration]
    lacking: Mapping[str, str]
    items: int
    prior: float | None = None
    min_probability: float | None = None
    fpr: float | None = None
    thresholds: Mapping[str, float] = field(default_factory=dict)

    @property
    def calibrated(self) -> bool:
        """Whether every hit has a probability."""
        return bool(self.pairs) and not self.lacking

    @property
    def threshold(self) -> float | None:
        """The score to reach, where there is only one."""
        different = set(self.thresholds.values())
        return different.pop() if len(different) == 1 else None

    @property
    def demanded(self) -> bool:
        """Whether the query asked for sure hits only."""
        return self.min_probability is not None or self.fpr is not None

    def judged(self, hits: Sequence[FoundItem]) -> tuple[FoundItem, ...]:
        """The hits with likelihood ratio and probability, without those that are not as sure as asked."""
        kept = []
        for hit in hits:
            pair = self.pairs.get(hit.compared_by)
            if pair is None or self.prior is None:
                if not self.demanded:
                    kept.append(hit)
                continue
            probability = pair.probability(hit.score, self.prior)
            sure = self.min_probability is None or probability >= self.min_probability
            threshold = self.thresholds.get(hit.compared_by)
            if sure and (threshold is None or hit.score >= threshold):
                ratio = pair.likelihood_ratio(hit.score)
                kept.append(replace(hit, likelihood_ratio=ratio, probability=probability))
        return tuple(kept)

    def warnings(self, found: int, kept: int) -> list[str]:
        """What a client should know of the probabilities of `kept` out of `found` hits."""
        if not self.pairs:
            return []
        said = []
        fewest = min(pair.identities for pair in self.pairs.values())
        if fewest < FEW_IDENTITIES:
            said.append(f"Probabilities rest on only {fewest} validation identities.")
        if self.lacking:
            held = "withheld" if self.demanded else "without a probability"
            why = "; ".join(f"{name}: {reason}" for name, reason in self.lacking.items())
            said.append(f"Items that are compared by a subset without calibration are {held} ({why}).")
        if len(set(self.thresholds.values())) > 1:
            listed = ", ".join(f"{name} {value:.4g}" for name, value in self.thresholds.items())
            said.append(f"Thresholds at FPR {self.fpr:g}: {listed}.")
        if self.fpr is not None:
            expected = self.fpr * self.items
            said.append(f"At FPR {self.fpr:g} about {expected:.3g} of {self.items} items pass by chance.")
        if self.demanded and found and not kept:
            said.append(f"Nothing confident: none of the {found} best items is as sure as asked.")
        return said


def confidence(
    query: SearchQuery,
    pairs: Mapping[str, PairCalibration],
    lacking: Mapping[str, str],
    items: int,
    prior: float | None,
    names: str,
) -> Confidence:
    """What the hits of a query are judged by.

    `pairs` are the calibrations by the subset that items are compared by, `lacking` why others have none. The
    prior is the query's, or else `prior`, or else 1 / (items + 1): the object may be any of the items, or
    none. `names` tells the pairing. Raises UsageError for numbers out of range, for an `fpr` without a
    threshold, and where sure hits are asked of a pairing without any calibration.
    """
    for name, value in (
        ("min_probability", query.min_probability),
        ("fpr", query.fpr),
        ("prior", query.prior),
    ):
        if value is None:
            continue
        if not (0 < value < 1 or (value == 1 and name == "min_probability")):
            raise UsageError(f"{name}: {value:g} is not between 0 and 1.")
        if not pairs:
            why = "; ".join(dict.fromkeys(lacking.values()))
            raise UsageError(f"{name}: {names} is not calibrated ({why}), so its scores tell no chances.")
    if not pairs:
        return Confidence(pairs, lacking, items)
    chosen = query.prior if query.prior is not None else prior
    return Confidence(
        pairs=pairs,
        lacking=lacking,
        items=items,
        prior=1 / (max(items, 1) + 1) if chosen is None else chosen,
        min_probability=query.min_probability,
        fpr=query.fpr,
        thresholds={}
        if query.fpr is None
        else {name: pair.threshold(query.fpr) for name, pair in pairs.items()},
    )
