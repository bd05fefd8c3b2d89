"""The table of a leaderboard: one row a system, one column a track, and sentences that say what it shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from reid.evaluate.report.results import percent
from reid.studies.leaderboard.definition import SECONDS, Benchmark, Track
from reid.studies.leaderboard.scores import Estimate, RunScores, TrackScores

VERSION = 1
"""Of the layout of results.json."""
NOTHING = "–"


@dataclass(frozen=True)
class TrackCell:
    """One system on one track."""

    estimate: Estimate | None  # None: not one run answers the whole track
    difference: Estimate | None  # to the baseline; None for the baseline, and where it has no number
    answered: int  # pairings that the system answers
    asked: int
    seeds: int

    @property
    def text(self) -> str:
        """ "41.2 [38.0, 44.9]", or how many of the pairings are answered."""
        if self.estimate is None:
            return NOTHING if not self.answered else f"answers {self.answered} of {self.asked}"
        return interval_text(self.estimate)


@dataclass(frozen=True)
class LeaderboardTable:
    """All runs, as far as they are done, under one budget."""

    benchmark: Benchmark
    budget: str
    runs: Sequence[RunScores]

    @cached_property
    def tracks(self) -> dict[str, TrackScores]:
        """The scores of each track."""
        return {track.name: self._scores(track) for track in self.benchmark.tracks}

    def finished(self, system: str) -> list[RunScores]:
        """A system's runs under this budget that did not fail."""
        mine = (run for run in self.runs if run.budget == self.budget and run.system == system)
        return [run for run in mine if run.error is None]

    @property
    def failed(self) -> list[RunScores]:
        """Runs under this budget that ended with an error."""
        return [run for run in self.runs if run.budget == self.budget and run.error is not None]

    def cell(self, system: str, track: Track) -> TrackCell:
        """One system on one track."""
        runs, scores = self.finished(system), self.tracks[track.name]
        answered = min((len(set(track.pairings) & set(run.pairings or {})) for run in runs), default=0)
        baseline = self.benchmark.baseline
        there = system in scores.systems
        paired = there and system != baseline and baseline in scores.systems
        return TrackCell(
            estimate=scores.estimate(system) if there else None,
            difference=scores.difference(system, baseline) if paired else None,
            answered=answered,
            asked=len(track.pairings),
            seeds=len(runs),
        )

    def chance(self, track: Track) -> float | None:
        """mAP of a random order, the mean over pairings."""
        for run in self.runs:
            known = run.pairings or {}
            if set(track.pairings) <= set(known):
                return sum(known[name].chance for name in track.pairings) / len(track.pairings)
        return None

    def ranking(self, track: Track) -> list[str]:
        """Systems that answer the whole track, best first."""
        scores = self.tracks[track.name]
        return sorted(scores.systems, key=scores.mean, reverse=True)

    def sentences(self) -> list[str]:
        """What the numbers say of each track, and of systems that the baseline beats."""
        found = [said for track in self.benchmark.tracks if (said := self._verdict(track))]
        for system in self.benchmark.systems:
            lost = [
                track.name
                for track in self.benchmark.tracks
                if (d := self.cell(system.name, track).difference) is not None and d.high < 0
            ]
            if lost:
                found.append(
                    f"{system.name} is worse than {self.benchmark.baseline} on {', '.join(lost)}: the whole "
                    "interval of the difference is below zero."
                )
        for error in dict.fromkeys(str(run.error) for run in self.failed):
            who = [f"{run.system} (seed {run.seed})" for run in self.failed if run.error == error]
            found.append(f"failed: {', '.join(who)}: {error}")
        return found

    def notes(self) -> list[str]:
        """How to read the table."""
        spec, b = self.benchmark, self.benchmark.budget
        spent = f"{b.seconds:g} seconds of training" if self.budget == SECONDS else f"{b.steps} steps"
        return [
            f"mAP in %, the mean over a track's pairings and {len(spec.seeds)} seeds "
            f"({', '.join(map(str, spec.seeds))}); budget of every system: {spent}.",
            "In brackets the 95 % interval: bootstrap over test identities and seeds. Differences to "
            f"{spec.baseline} are paired: the same identities are drawn for both.",
            "A system has a number only where it answers every pairing of the track.",
            *(f"{t.name}: {t.about} ({', '.join(t.pairings)})." for t in spec.tracks),
            *(f"{s.name}: {s.note}" for s in spec.systems if s.note),
        ]

    def grid(self) -> list[list[str]]:
        """The table as texts, heads first."""
        spec = self.benchmark
        rows = [["system", *(t.name for t in spec.tracks), "parameters", "steps", "s/step"]]
        for system in spec.systems:
            runs = self.finished(system.name)
            cells = [self.cell(system.name, track).text for track in spec.tracks]
            rows.append([system.name, *cells, *_costs(runs)])
        known = [self.chance(track) for track in spec.tracks]
        rows.append(["chance", *(NOTHING if c is None else percent(c) for c in known), "", "", ""])
        return rows

    def difference_grid(self) -> list[list[str]]:
        """Paired differences to the baseline as texts, heads first."""
        spec = self.benchmark
        rows = [[f"minus {spec.baseline}", *(t.name for t in spec.tracks)]]
        for system in spec.systems:
            if system.name != spec.baseline:
                found = [self.cell(system.name, track).difference for track in spec.tracks]
                rows.append([system.name, *(NOTHING if d is None else interval_text(d, "+") for d in found)])
        return rows

    def to_dict(self) -> dict[str, Any]:
        """JSON-able: numbers, not texts."""
        spec = self.benchmark
        return {
            "budget": self.budget,
            "systems": {
                s.name: {t.name: _numbers(self.cell(s.name, t)) for t in spec.tracks} for s in spec.systems
            },
            "chance": {t.name: self.chance(t) for t in spec.tracks},
            "sentences": self.sentences(),
        }

    def _scores(self, track: Track) -> TrackScores:
        wanted = set(track.pairings)
        runs = {
            system.name: [run for run in self.finished(system.name) if wanted <= set(run.pairings or {})]
            for system in self.benchmark.systems
        }
        return TrackScores(track.pairings, runs)

    def _verdict(self, track: Track) -> str | None:
        order = self.ranking(track)
        if not order:
            return f"{track.name}: no system has a number."
        scores = self.tracks[track.name]
        best = f"{track.name}: {order[0]} has the highest mAP, {percent(scores.mean(order[0]))}"
        if len(order) == 1:
            return f"{best}; no other system answers the track."
        found = scores.difference(order[0], order[1])
        lead = f"{percent(found.mean)} [{percent(found.low)}, {percent(found.high)}]"
        if found.beyond_zero:
            return f"{best}; it leads {order[1]} by {lead}."
        return f"{best}, but its lead over {order[1]}, {lead}, may be chance: the interval holds zero."


def interval_text(estimate: Estimate, sign: str = "") -> str:
    """ "41.2 [38.0, 44.9]", in %."""
    mean, low, high = (format(100 * v, f"{sign}z.1f") for v in (estimate.mean, estimate.low, estimate.high))
    return f"{mean} [{low}, {high}]"


def _costs(runs: Sequence[RunScores]) -> list[str]:
    if not runs:
        return [NOTHING] * 3
    steps = sorted({run.steps for run in runs})
    seconds = sum(run.step_seconds for run in runs) / len(runs)
    told = f"{steps[0]}" if len(steps) == 1 else f"{steps[0]}–{steps[-1]}"
    return [f"{runs[0].parameters / 1e6:.2f} M", told, f"{seconds:.2f}"]


def _numbers(cell: TrackCell) -> dict[str, Any]:
    return {
        "mAP": None if cell.estimate is None else vars(cell.estimate),
        "difference": None if cell.difference is None else vars(cell.difference),
        "answered": cell.answered,
        "asked": cell.asked,
        "seeds": cell.seeds,
    }
