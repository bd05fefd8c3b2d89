"""Calibration of similarities: likelihood ratios, probabilities and thresholds for each pairing of subsets.

A likelihood ratio is the probability of a similarity among pairs of one object, divided by that among pairs
of two objects. It contains no prior: together with a stated prior it gives a probability. Both are fitted on
identities held out of training (`reid.evaluate.calibration.fitting`) and stored in the run folder.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from reid.config.typed import Section
from reid.config.typed import check as validated
from reid.errors import ConfigError, UsageError, WeightsError
from reid.modality import Subset, subset_name

Floats = npt.NDArray[np.float64]
Interval = tuple[float, float]
Method = Literal["logistic", "isotonic"]
Rate = Annotated[float, Field(ge=0, le=1)]
TIE_BREAK = 1e-3
Count = Annotated[int, Field(ge=0)]


class VerificationPoint(Section):
    """A threshold: pairs at or above it count as one identity; at most `fpr` of the negative pairs do."""

    fpr: float = Field(gt=0, lt=1)
    threshold: float
    tpr: Rate
    tpr_interval: Interval | None
    fpr_interval: Interval | None = Field(description="of the rate that the threshold really has")


class OpenSetPoint(Section):
    """A threshold for the best item: at most `false_alarm_rate` of unknown queries reach it."""

    false_alarm_rate: float = Field(gt=0, lt=1)
    threshold: float
    detection_rate: Rate
    detection_interval: Interval | None
    false_alarm_interval: Interval | None


class LogisticMap(Section):
    """log LR = slope x similarity + intercept, between the bounds."""

    method: Literal["logistic"] = "logistic"
    slope: float = Field(ge=0)
    intercept: float

    def log_ratio(self, scores: Floats) -> Floats:
        """Natural log likelihood ratios of similarities, any shape."""
        return self.slope * scores + self.intercept


class IsotonicMap(Section):
    """log LR as a rising piecewise linear function of the similarity."""

    method: Literal["isotonic"] = "isotonic"
    scores: tuple[float, ...] = Field(min_length=1)
    log_ratios: tuple[float, ...]

    @model_validator(mode="after")
    def _rises(self) -> IsotonicMap:
        if len(self.scores) != len(self.log_ratios):
            raise ValueError("scores and log_ratios differ in length")
        for name, values in (("scores", self.scores), ("log_ratios", self.log_ratios)):
            if any(b < a for a, b in itertools.pairwise(values)):
                raise ValueError(f"{name} must not fall")
        return self

    def log_ratio(self, scores: Floats) -> Floats:
        """Natural log likelihood ratios of similarities, any shape."""
        found: Floats = np.interp(scores, self.scores, self.log_ratios)
        return found


class PairCalibration(Section):
    """The calibration of one query subset against one gallery subset, and the data behind it.

    `floor` and `ceiling` bound the log likelihood ratio: N pairs cannot support a ratio beyond N + 1.
    """

    query: str
    gallery: str
    map: Annotated[LogisticMap | IsotonicMap, Field(discriminator="method")]
    floor: float = Field(le=0)
    ceiling: float = Field(ge=0)
    identities: Count = Field(description="with a positive pair")
    positive_pairs: Count
    negative_pairs: Count
    queries: Count
    gallery_items: Count
    verification: tuple[VerificationPoint, ...] = ()
    open_set: tuple[OpenSetPoint, ...] = ()

    @property
    def name(self) -> str:
        """ "text->rgb"; one name when both sides are the same."""
        return self.query if self.query == self.gallery else f"{self.query}->{self.gallery}"

    def log_likelihood_ratio(self, scores: npt.ArrayLike) -> Floats:
        """Natural logs of `likelihood_ratio`, for similarities of any shape; never falling."""
        values = np.asarray(scores, np.float64)
        found: Floats = np.clip(self.map.log_ratio(values), self.floor, self.ceiling)
        return found

    def ranking(self, scores: npt.ArrayLike) -> Floats:
        """What items of several pairings are ranked together by, any shape; it rises strictly.

        The log likelihood ratio without its bounds, and a thousandth of the similarity: that decides where
        ratios are equal, so that a pairing's own order is kept.
        """
        values = np.asarray(scores, np.float64)
        found: Floats = self.map.log_ratio(values) + TIE_BREAK * values
        return found

    def likelihood_ratio(self, score: float) -> float:
        """p(similarity | one identity) / p(similarity | two): above 1 favours one identity, below 1 two."""
        return float(np.exp(self.log_likelihood_ratio(score)))

    def probability(self, score: float, prior: float) -> float:
        """The probability that a pair shows one identity, given a `prior`.

        Raises UsageError outside (0, 1).
        """
        return float(posterior(self.log_likelihood_ratio(score), prior))

    def threshold(self, fpr: float) -> float:
        """The similarity that at most `fpr` of negative pairs reach.

        Raises UsageError for an unlisted rate.
        """
        for point in self.verification:
            if math.isclose(point.fpr, fpr, rel_tol=1e-6):
                return point.threshold
        known = ", ".join(f"{point.fpr:g}" for point in self.verification) or "none"
        raise UsageError(
            f"fpr: {self.name} has no threshold for {fpr:g}; published: {known}. A rate x needs 10/x "
            f"negative pairs, and there were {self.negative_pairs}: hold more identities out "
            "(train.val.fraction)."
        )


class Calibration(Section):
    """The contents of a run's calibration.json, measured on its validation identities, never on test."""

    version: Literal[1] = 1
    model_fingerprint: str = ""
    data_fingerprint: str
    protocol: str
    exclusions: tuple[str, ...] = ()
    split: Literal["train", "val"] = Field("train", description="where the validation identities come from")
    fraction: Rate | None = Field(None, description="train.val.fraction; None for a split of its own")
    identities: Count = Field(description="validation identities")
    pairings: tuple[PairCalibration, ...]
    lacking: dict[str, str] = Field({}, description="pairings that could not be calibrated, and why")

    def of(self, query: Subset | str, gallery: Subset | str) -> PairCalibration | None:
        """The calibration of a pairing by the subsets that are embedded; None if there is none."""
        wanted = tuple(s if isinstance(s, str) else subset_name(s) for s in (query, gallery))
        return next((p for p in self.pairings if (p.query, p.gallery) == wanted), None)

    def ranking(self, query: Subset | str, gallery: Subset | str) -> Callable[[npt.ArrayLike], Floats]:
        """What ranks a pairing's similarities among those of others. UsageError if it is not calibrated."""
        found = self.of(query, gallery)
        if found is None:
            raise UsageError(f"{query}->{gallery} is not calibrated.")
        return found.ranking

    def has(self, query: Subset | str, gallery: Subset | str) -> bool:
        """Whether similarities of a pairing have likelihood ratios."""
        return self.of(query, gallery) is not None

    @classmethod
    def load(cls, tree: Mapping[str, Any], model_fingerprint: str, where: str) -> Calibration:
        """Read a stored calibration.

        Raises WeightsError naming the file for unknown keys or another model.
        """
        try:
            found: Calibration = validated(cls, tree)
        except ConfigError as error:
            raise WeightsError(f"{where}: not a calibration ({error}). Train the run again.") from None
        if found.model_fingerprint != model_fingerprint:
            raise WeightsError(
                f"{where}: calibrated for model {found.model_fingerprint or 'unknown'}, but the weights are "
                f"{model_fingerprint}. Scores of different models cannot be compared: train the run again."
            )
        return found


def posterior(log_ratios: Floats, prior: float) -> Floats:
    """Probabilities from natural log likelihood ratios. UsageError for a prior outside (0, 1)."""
    if not 0 < prior < 1:
        raise UsageError(f"prior: {prior:g} is not a chance between 0 and 1, both excluded.")
    return sigmoid(log_ratios + math.log(prior) - math.log1p(-prior))


def sigmoid(x: Floats) -> Floats:
    """1 / (1 + exp(-x)), without overflow."""
    small = np.exp(-np.abs(x))
    found: Floats = np.where(x >= 0, 1, small) / (1 + small)
    return found
