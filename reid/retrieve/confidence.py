"""How sure a search is: probabilities of its hits, and which of them are sure enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from reid.errors import UsageError
from reid.evaluate.calibration.calibration import PairCalibration
from reid.retrieve.answers import FoundItem, SearchQuery

FEW_IDENTITIES = 20
"""Below so many validation identities, a result with probabilities says so."""


@dataclass(frozen=True)
class Confidence:
    """What one query's hits are judged by. Without a calibration, `prior` is None and every hit passes."""

    pair: PairCalibration | None
    items: int
    prior: float | None = None
    min_probability: float | None = None
    fpr: float | None = None
    threshold: float | None = None

    @property
    def demanded(self) -> bool:
        """Whether the query asked for sure hits only."""
        return self.min_probability is not None or self.threshold is not None

    def judged(self, hits: Sequence[FoundItem]) -> tuple[FoundItem, ...]:
        """The hits with likelihood ratio and probability, without those that are not as sure as asked."""
        if self.pair is None or self.prior is None:
            return tuple(hits)
        kept = []
        for hit in hits:
            probability = self.pair.probability(hit.score, self.prior)
            sure = self.min_probability is None or probability >= self.min_probability
            if sure and (self.threshold is None or hit.score >= self.threshold):
                ratio = self.pair.likelihood_ratio(hit.score)
                kept.append(replace(hit, likelihood_ratio=ratio, probability=probability))
        return tuple(kept)

    def warnings(self, found: int, kept: int) -> list[str]:
        """What a client should know of the probabilities of `kept` out of `found` hits."""
        if self.pair is None:
            return []
        said = []
        if self.pair.identities < FEW_IDENTITIES:
            said.append(f"Probabilities rest on only {self.pair.identities} validation identities.")
        if self.fpr is not None:
            expected = self.fpr * self.items
            said.append(f"At FPR {self.fpr:g} about {expected:.3g} of {self.items} items pass by chance.")
        if self.demanded and found and not kept:
            said.append(f"Nothing confident: none of the {found} best items is as sure as asked.")
        return said


def confidence(
    query: SearchQuery, pair: PairCalibration | None, items: int, prior: float | None, names: str, why: str
) -> Confidence:
    """What the hits of a query are judged by.

    The prior is the query's, or else `prior`, or else 1 / (items + 1): the object may be any of the items, or
    none. `names` tells the pairing and `why` why it is not calibrated. Raises UsageError for numbers out of
    range, for an `fpr` without a threshold, and where sure hits are asked of a pairing without calibration.
    """
    for field, value in (
        ("min_probability", query.min_probability),
        ("fpr", query.fpr),
        ("prior", query.prior),
    ):
        if value is None:
            continue
        if not (0 < value < 1 or (value == 1 and field == "min_probability")):
            raise UsageError(f"{field}: {value:g} is not between 0 and 1.")
        if pair is None:
            raise UsageError(f"{field}: {names} is not calibrated ({why}), so its scores tell no chances.")
    if pair is None:
        return Confidence(None, items)
    chosen = query.prior if query.prior is not None else prior
    return Confidence(
        pair=pair,
        items=items,
        prior=1 / (max(items, 1) + 1) if chosen is None else chosen,
        min_probability=query.min_probability,
        fpr=query.fpr,
        threshold=None if query.fpr is None else pair.threshold(query.fpr),
    )
