"""The table of an ablation: mean and sample standard deviation over training seeds, and what a row adds.

Differences are paired: the mean and deviation of (row - first row) over the seeds that both have finished.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reid.evaluate.report.results import percent

MEAN = "mean mAP"
"""Over every evaluated subset: how a model does when modalities are missing."""
VERSION = 1
"""Of the layout of results.json."""


@dataclass(frozen=True)
class SeedResults:
    """One seed of a row: its run and what the evaluation said, or why it failed."""

    row: str
    seed: int
    run: str
    data: str = ""  # fingerprint of the shard set
    report: str | None = None
    parameters: int | None = None
    seconds: float | None = None  # of training, without validation
    shown: str = ""  # the pairing that `numbers` are of
    numbers: Mapping[str, float | None] | None = None  # fractions; None where no query counts
    subsets: Mapping[str, float | None] | None = None  # mAP of every evaluated pairing
    error: str | None = None

    def value(self, column: str) -> float | None:
        """A metric of the shown pairing, or the mean mAP over all when there are several."""
        if column != MEAN:
            return (self.numbers or {}).get(column)
        known = [v for v in (self.subsets or {}).values() if v is not None]
        return statistics.fmean(known) if known and len(known) == len(self.subsets or {}) > 1 else None


@dataclass(frozen=True)
class Spread:
    """Values by seed (fractions)."""

    values: Mapping[int, float]

    @property
    def mean(self) -> float:
        """Their mean."""
        return statistics.fmean(self.values.values())

    @property
    def std(self) -> float | None:
        """Their sample standard deviation; None for a single one."""
        return statistics.stdev(self.values.values()) if len(self.values) > 1 else None

    def text(self, sign: str = "") -> str:
        """ "50.5 ± 2.4", in %."""
        mean = format(100 * self.mean, f"{sign}z.1f")  # z: never -0.0
        return mean if self.std is None else f"{mean} ± {percent(self.std)}"

    def to_dict(self) -> dict[str, Any]:
        """For results.json."""
        return {"mean": self.mean, "std": self.std, "seeds": {str(k): v for k, v in self.values.items()}}


@dataclass(frozen=True)
class TableRow:
    """What is known of a row besides its runs."""

    name: str
    note: str | None
    changes: Mapping[str, Any]  # dotted field -> value, where it differs from the given configuration
    same_as: str | None = None  # an earlier row that trains the same runs

    def changed(self) -> str:
        """ "model.ffm.enabled=false, …"; what is longer than a line is in results.json."""
        remark = {field: json.dumps(value) for field, value in self.changes.items()}
        return ", ".join(f"{field}={v if len(v) <= 40 else '…'}" for field, v in remark.items())


@dataclass(frozen=True)
class AblationTable:
    """Rows × seeds, as far as they are done."""

    name: str
    ladder: str
    dataset: str
    split: str
    protocol: str
    rows: Sequence[TableRow]
    seeds: Sequence[int]
    metrics: Sequence[str]
    runs: Sequence[SeedResults]

    @property
    def failed(self) -> list[SeedResults]:
        """Runs that ended with an error."""
        return [run for run in self.runs if run.error is not None]

    @property
    def columns(self) -> list[str]:
        """The shown metrics, and the mean over subsets when several were evaluated."""
        several = any(run.value(MEAN) is not None for run in self.runs)
        return [*self.metrics, *([MEAN] if several else [])]

    def finished(self, row: str) -> list[SeedResults]:
        """A row's runs that did not fail."""
        return [run for run in self.runs if run.row == row and run.error is None]

    def spread(self, row: str, value: Callable[[SeedResults], float | None]) -> Spread | None:
        """Something of a row's finished runs; None when none has it."""
        known = {run.seed: value(run) for run in self.finished(row)}
        found = {seed: v for seed, v in known.items() if v is not None}
        return Spread(found) if found else None

    def column(self, row: str, column: str) -> Spread | None:
        """A column of a row."""
        return self.spread(row, lambda run: run.value(column))

    def difference(self, row: str, column: str) -> Spread | None:
        """To the first row, seed by seed; None for the first row itself or when no seed is common."""
        first = self.column(self.rows[0].name, column)
        own = self.column(row, column)
        if row == self.rows[0].name or first is None or own is None:
            return None
        common = {s: v - first.values[s] for s, v in own.values.items() if s in first.values}
        return Spread(common) if common else None

    def subsets(self) -> list[str]:
        """Every evaluated pairing, in order."""
        return list(dict.fromkeys(name for run in self.runs for name in run.subsets or ()))

    def shown(self) -> list[str]:
        """The pairings that the metrics are of: one, unless rows differ in their modalities."""
        return list(dict.fromkeys(run.shown for run in self.runs if run.shown))

    def grid(self) -> list[list[str]]:
        """Header and cells."""
        by_row = len(self.shown()) > 1
        header = ["row", *(["query = gallery"] if by_row else []), *self.columns, f"Δ {self.metrics[0]}"]
        lines = [[*header, "seeds", "parameters", "s/run"]]
        for row in self.rows:
            done = self.finished(row.name)
            seconds = self.spread(row.name, lambda run: run.seconds)
            numbers = [_text(self.column(row.name, c)) for c in self.columns]
            lines.append(
                [
                    row.name,
                    *([done[0].shown if done else "–"] if by_row else []),
                    *numbers,
                    _text(self.difference(row.name, self.metrics[0]), "+"),
                    str(len(done)) if len(done) == len(self.seeds) else f"{len(done)} of {len(self.seeds)}",
                    f"{done[0].parameters:,}" if done else "–",
                    "–" if seconds is None else f"{seconds.mean:.0f}",
                ]
            )
        return lines

    def notes(self) -> list[str]:
        """What the numbers rest on, one sentence a line."""
        data = list(dict.fromkeys(run.data for run in self.runs if run.data))
        stays = f"the data ({data[0]}) stay" if len(data) == 1 else f"rows differ in their data ({len(data)})"
        lines = [
            f"{', '.join(self.shown()) or 'Nothing yet'} on {self.dataset} ({self.split}), protocol "
            f"{self.protocol}; in %, mean ± sample standard deviation over seeds.",
            f"Training seeds {', '.join(map(str, self.seeds))}: initial weights, batches, augmentation and "
            f"validation identities (if any) vary, {stays}.",
            "s/run: training, without validation.",
        ]
        if len(self.rows) > 1:
            lines.append(f"Δ: difference to {self.rows[0].name!r}, paired by seed.")
        if MEAN in self.columns:
            lines.append(f"{MEAN}: over {len(self.subsets())} pairings: {', '.join(self.subsets())}.")
        for row in self.rows:
            same = f"the same runs as {row.same_as!r}" if row.same_as else None
            remark = "; ".join(text for text in (row.note, row.changed(), same) if text)
            if remark:
                lines.append(f"{row.name}: {remark}.")
        pending = len(self.rows) * len(self.seeds) - len(self.runs)
        if pending:
            lines.append(f"{pending} runs are still to do.")
        lines += [f"Failed: {run.row}, seed {run.seed}: {run.error}" for run in self.failed]
        return lines

    def to_dict(self) -> dict[str, Any]:
        """The content of results.json."""
        rows = []
        for row in self.rows:
            done = self.finished(row.name)
            columns = {c: found for c in self.columns if (found := self.column(row.name, c))}
            added = {c: found for c in self.columns if (found := self.difference(row.name, c))}
            rows.append(
                {
                    **vars(row),
                    "finished": len(done),
                    "parameters": done[0].parameters if done else None,
                    "metrics": {c: s.to_dict() for c, s in columns.items()},
                    "difference": {c: s.to_dict() for c, s in added.items()},
                }
            )
        plain = ("name", "ladder", "dataset", "split", "protocol")
        return {
            "version": VERSION,
            **{key: getattr(self, key) for key in plain},
            "seeds": list(self.seeds),
            "shown": self.shown(),
            "subsets": self.subsets(),
            "rows": rows,
            "runs": [vars(run) for run in self.runs],
        }

    def markdown(self) -> str:
        """The content of table.md: the table, mAP by subset when there are several, and the notes."""
        lines = [f"# Ablation of {self.name}", "", *_markdown(self.grid()), ""]
        if MEAN in self.columns:
            grid = [["mAP of", *self.subsets()]]
            for row in self.rows:
                cells = [
                    _text(self.spread(row.name, lambda run, n=name: (run.subsets or {}).get(n)))  # type: ignore[misc]
                    for name in self.subsets()
                ]
                grid.append([row.name, *cells])
            lines += [*_markdown(grid), ""]
        return "\n".join([*lines, *(f"* {_escaped(note)}" for note in self.notes())]) + "\n"

    def lines(self) -> list[str]:
        """The table for a terminal."""
        grid = self.grid()
        widths = [max(len(line[i]) for line in grid) for i in range(len(grid[0]))]
        table = [
            "  ".join(
                cell.rjust(w) if i else cell.ljust(w)
                for i, (cell, w) in enumerate(zip(line, widths, strict=True))
            )
            for line in grid
        ]
        return [*table, *self.notes()]


def _text(spread: Spread | None, sign: str = "") -> str:
    return "–" if spread is None else spread.text(sign)


def _markdown(grid: list[list[str]]) -> list[str]:
    head, *rows = [f"| {' | '.join(map(_escaped, line))} |" for line in grid]
    return [head, f"|---|{'---:|' * (len(grid[0]) - 1)}", *rows]


def _escaped(text: str) -> str:
    return "".join(f"\\{c}" if c in "\\|*_`<>[]" else c for c in text)
