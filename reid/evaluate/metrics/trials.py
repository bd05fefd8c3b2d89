"""Metrics over several galleries: the means of the trials, and their spread."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from reid.evaluate.metrics.retrieval import RetrievalMetrics


@dataclass(frozen=True, eq=False)
class TrialMetrics(RetrievalMetrics):
    """Means over trials with different galleries and the same queries.

    `queries` counts the queries with a positive in any trial, `skipped` the others. `ap` and `inp` are means
    over the trials in which a query has a positive; the other tensors are those of its first such trial.

    >>> from reid.evaluate.metrics.retrieval import rank_metrics
    >>> one = rank_metrics(torch.eye(2), torch.arange(2), torch.arange(2))
    >>> over_trials([one, one]).spread()["mAP"]
    0.0
    """

    trials: tuple[RetrievalMetrics, ...] = ()

    @property
    def mAP(self) -> float:  # noqa: N802
        """Mean of the trials' mAP."""
        return _mean([t.mAP for t in self.trials])

    @property
    def mINP(self) -> float:  # noqa: N802
        """Mean of the trials' mINP."""
        return _mean([t.mINP for t in self.trials])

    def cmc_at(self, rank: int) -> float:
        """Mean of the trials' CMC@rank."""
        return _mean([t.cmc_at(rank) for t in self.trials])

    @property
    def chance_mAP(self) -> float:  # noqa: N802
        """Mean of the trials' chance levels."""
        return _mean([t.chance_mAP for t in self.trials])

    def chance_cmc(self, rank: int) -> float:
        """Mean of the trials' chance levels."""
        return _mean([t.chance_cmc(rank) for t in self.trials])

    def values(self) -> dict[str, list[float]]:
        """ "mAP", "R<k>" for each rank and "mINP": the value of each trial."""
        return {
            "mAP": [t.mAP for t in self.trials],
            **{f"R{k}": [t.cmc_at(k) for t in self.trials] for k in self.ranks},
            "mINP": [t.mINP for t in self.trials],
        }

    def spread(self) -> dict[str, float]:
        """Sample standard deviation (n - 1) of each of `values`, over the trials that have a value."""
        counted = {name: _known(values) for name, values in self.values().items()}
        return {name: statistics.stdev(v) if len(v) > 1 else float("nan") for name, v in counted.items()}


def over_trials(trials: Sequence[RetrievalMetrics]) -> RetrievalMetrics:
    """Combine the metrics of several trials.

    Args:
        trials: at least one; all with the same queries in the same order, and the same ranks.

    Returns:
        The only trial unchanged, or a `TrialMetrics` of several.

    >>> from reid.evaluate.metrics.retrieval import rank_metrics
    >>> one = rank_metrics(torch.eye(2), torch.arange(2), torch.arange(2))
    >>> over_trials([one]) is one, over_trials([one, one]).mAP
    (True, 1.0)
    """
    if len(trials) == 1:
        return trials[0]
    valid = torch.stack([t.valid for t in trials])  # (T, Q)
    first = valid.int().argmax(dim=0)  # of each query; 0 where none counts

    def of_first(columns: list[Tensor]) -> Tensor:
        return torch.stack(columns).gather(0, first[None])[0]

    listed = [t.listed for t in trials if t.listed is not None]
    return TrialMetrics(
        ap=torch.stack([t.ap for t in trials]).nanmean(dim=0),
        inp=torch.stack([t.inp for t in trials]).nanmean(dim=0),
        first_hit=of_first([t.first_hit for t in trials]),
        positives=of_first([t.positives for t in trials]),
        candidates=of_first([t.candidates for t in trials]),
        ranks=trials[0].ranks,
        listed=of_first(listed) if listed else None,
        trials=tuple(trials),
    )


def _known(values: Sequence[float]) -> list[float]:
    return [v for v in values if v == v]


def _mean(values: Sequence[float]) -> float:
    """Over the trials in which a query counts; NaN if there is none."""
    known = _known(values)
    return statistics.fmean(known) if known else float("nan")
