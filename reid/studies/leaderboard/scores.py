"""What the runs of a leaderboard scored, and intervals of their tracks and of differences between systems.

Intervals are percentiles of a bootstrap that draws identities, the same for all systems, and training seeds
of each system. Three seeds are few: the interval says how much the test identities and these seeds vary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reid.errors import DataError
from reid.evaluate.metrics.identity_scores import IdentityScores

RESAMPLES = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class PairingScore:
    """One pairing of one run; fractions."""

    identities: IdentityScores
    rank1: float
    chance: float  # mAP of a random order

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "mAP": self.identities.mAP,
            "R1": self.rank1,
            "chance": self.chance,
            "identities": self.identities.to_dict(),
        }

    @staticmethod
    def from_dict(tree: Mapping[str, Any]) -> PairingScore:
        """What `to_dict` gave."""
        return PairingScore(IdentityScores.from_dict(tree["identities"]), tree["R1"], tree["chance"])


@dataclass(frozen=True)
class RunScores:
    """One system with one seed and budget: its run and what it scored, or why it failed."""

    system: str
    budget: str
    seed: int
    run: str = ""
    steps: int = 0
    step_seconds: float = 0.0  # of training, without evaluation
    rows: int = 0  # captures of a step, all ranks
    parameters: int = 0
    pairings: Mapping[str, PairingScore] | None = None
    refused: Mapping[str, str] | None = None  # pairing -> why the system does not answer it
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        plain = ("system", "budget", "seed", "run", "steps", "step_seconds", "rows", "parameters", "error")
        return {
            **{name: getattr(self, name) for name in plain},
            "pairings": {name: score.to_dict() for name, score in (self.pairings or {}).items()},
            "refused": dict(self.refused or {}),
        }

    @staticmethod
    def from_dict(tree: Mapping[str, Any]) -> RunScores:
        """What `to_dict` gave."""
        pairings = {name: PairingScore.from_dict(score) for name, score in tree["pairings"].items()}
        return RunScores(**{**tree, "pairings": pairings})


@dataclass(frozen=True)
class Estimate:
    """A mean and its interval, fractions."""

    mean: float
    low: float
    high: float

    @property
    def beyond_zero(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.low > 0 or self.high < 0


class TrackScores:
    """mAP of several systems on one track: the mean over its pairings, from runs of several seeds."""

    def __init__(self, pairings: Sequence[str], runs: Mapping[str, Sequence[RunScores]]) -> None:
        """`runs` are each system's finished runs, which have all of `pairings`.

        Raises DataError for runs that were measured on different queries.
        """
        self._runs = {name: found for name, found in runs.items() if found}
        self._tables = {
            name: [self._table(run, pairings) for run in found] for name, found in self._runs.items()
        }
        self._known = self._same_identities(pairings)
        self._draws: dict[str, NDArray[np.float64]] = {}

    @property
    def systems(self) -> list[str]:
        """Those with a finished run."""
        return list(self._runs)

    def mean(self, system: str) -> float:
        """Over seeds and pairings."""
        return float(np.mean([np.mean([s.mAP for s in table]) for table in self._tables[system]]))

    def by_seed(self, system: str) -> dict[int, float]:
        """The mean over pairings, of each seed."""
        pairs = zip(self._runs[system], self._tables[system], strict=True)
        return {run.seed: float(np.mean([s.mAP for s in table])) for run, table in pairs}

    def estimate(self, system: str) -> Estimate:
        """Mean and interval."""
        return _estimate(self.mean(system), self._drawn(system))

    def difference(self, system: str, other: str) -> Estimate:
        """`system` - `other`, on the same drawn identities."""
        draws = self._drawn(system) - self._drawn(other)
        return _estimate(self.mean(system) - self.mean(other), draws)

    def _drawn(self, system: str) -> NDArray[np.float64]:
        """(RESAMPLES,) mAP of drawn identities and seeds."""
        if system not in self._draws:
            tables = self._tables[system]
            even = np.full(len(tables), 1 / len(tables))
            seeds = np.random.default_rng([1, *system.encode()]).multinomial(len(tables), even, RESAMPLES)
            found = np.zeros(RESAMPLES)
            for number, table in enumerate(tables):
                scores = [
                    (times @ one.total) / np.maximum(times @ one.count, 1)
                    for times, one in zip(self._times, table, strict=True)
                ]
                found += seeds[:, number] / len(tables) * np.mean(scores, axis=0)
            self._draws[system] = found
        return self._draws[system]

    @cached_property
    def _times(self) -> list[NDArray[np.float64]]:
        """For each pairing (RESAMPLES, I): how often each of its identities was drawn."""
        every = np.unique(np.concatenate(self._known))
        even = np.full(len(every), 1 / len(every))
        draws = np.random.default_rng(0).multinomial(len(every), even, RESAMPLES).astype(np.float64)
        return [draws[:, np.searchsorted(every, pids)] for pids in self._known]

    @staticmethod
    def _table(run: RunScores, pairings: Sequence[str]) -> list[IdentityScores]:
        return [(run.pairings or {})[name].identities for name in pairings]

    def _same_identities(self, pairings: Sequence[str]) -> list[NDArray[np.int64]]:
        every = [(name, table) for name, tables in self._tables.items() for table in tables]
        if not every:
            return []
        first = every[0][1]
        for name, table in every[1:]:
            for pairing, mine, theirs in zip(pairings, first, table, strict=True):
                if not (np.array_equal(mine.pid, theirs.pid) and np.array_equal(mine.count, theirs.count)):
                    raise DataError(
                        f"{pairing}: {every[0][0]} and {name} were measured on different queries; a paired "
                        "difference needs the same."
                    )
        return [scores.pid for scores in first]


def _estimate(mean: float, draws: NDArray[np.float64]) -> Estimate:
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(mean, float(low), float(high))
