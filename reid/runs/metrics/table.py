"""The metrics of a run as a table that grows by appending, and the one way to read it.

```
<run>/metrics/0001-000001.jsonl   parts of the first attempt: a JSON object a line
<run>/metrics/0002-000001.jsonl   parts of the attempt that resumed it
<run>/metrics/0002-all.parquet    instead of all those, once the run is finished
```
A row is flat: `kind`, `total` (optimiser steps in all), `epoch` (whole epochs done), `time` (since 1970) and
the metrics by name. Kinds: `begin` (an attempt starts after `total` steps), `step`, `epoch`, `notice`
(`text`), `end` (`why`). What an attempt wrote beyond the step from which a later one resumed does not count.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from reid import storage
from reid.errors import StorageError
from reid.storage.parts import Part, list_parts, read_parts

FOLDER = "metrics"
COMPACT = "-all.parquet"
COLUMNS = ("attempt", "kind", "total", "epoch", "time")
"""What every row has; everything else in a `step` or `epoch` row is a metric, or text."""

Row = dict[str, Any]


def metrics_folder(run: str) -> str:
    """Where the table of a run lies.

    >>> metrics_folder("runs/train/mine/0001")
    'runs/train/mine/0001/metrics'
    """
    return storage.join(run, FOLDER)


@dataclass
class MetricsTable:
    """The rows of a run that count, in the order of training.

    Args:
        rows: as the module describes, with `attempt`.
        superseded: number of rows that a resumed attempt replaced.
        unread: number of lines that are no rows.
    """

    rows: list[Row] = field(default_factory=list)
    superseded: int = 0
    unread: int = 0

    @staticmethod
    def of(run: str) -> MetricsTable:
        """The table of a run folder, finished or not; empty where nothing was written.

        Raises StorageError when the storage cannot be read.

        >>> table = MetricsTable.of("runs/train/mine/0001")
        >>> len(table.epochs()), "loss" in table.names()
        (1, True)
        """
        reader = TableReader(run)
        reader.update()
        return reader.table()

    def epochs(self) -> list[Row]:
        """The rows of epochs: means of the steps, validation, seconds."""
        return [row for row in self.rows if row["kind"] == "epoch"]

    def steps(self) -> list[Row]:
        """The rows within epochs: means over the optimiser steps since the row before."""
        return [row for row in self.rows if row["kind"] == "step"]

    def names(self) -> list[str]:
        """The metrics that have numbers, sorted.

        >>> MetricsTable([{"kind": "step", "total": 1, "epoch": 0, "time": 0.0, "loss": 2.0}]).names()
        ['loss']
        """
        found = {name for row in self.rows for name, value in row.items() if is_number(value)}
        return sorted(found - {*COLUMNS, "step", "steps", "eta_s"})

    def series(self, name: str) -> list[tuple[int, float]]:
        """(optimiser steps in all, value) of a metric: its steps' rows, or its epochs' where steps lack it.

        >>> rows = [{"kind": "step", "total": t, "epoch": 0, "time": 0.0, "loss": 1 / t} for t in (1, 2)]
        >>> MetricsTable(rows).series("loss")
        [(1, 1.0), (2, 0.5)]
        """
        for rows in (self.steps(), self.epochs()):
            if found := [(int(r["total"]), float(r[name])) for r in rows if is_number(r.get(name))]:
                return found
        return []

    def last(self, name: str) -> float | None:
        """The newest value of a metric; of epochs where they have it."""
        for rows in (self.epochs(), self.steps()):
            for row in reversed(rows):
                if is_number(row.get(name)):
                    return float(row[name])
        return None

    def best(self, name: str) -> float | None:
        """The highest value of a metric, the lowest of losses and times; of epochs where they have it."""
        for rows in (self.epochs(), self.steps()):
            values = [float(r[name]) for r in rows if is_number(r.get(name)) and math.isfinite(r[name])]
            if values:
                return min(values) if lower_is_better(name) else max(values)
        return None

    @property
    def written(self) -> float | None:
        """When the newest row was made, in seconds since 1970."""
        return float(self.rows[-1]["time"]) if self.rows else None

    @property
    def ended(self) -> Row | None:
        """The row with which the newest attempt ended by itself; None when it goes on or was killed."""
        return self.rows[-1] if self.rows and self.rows[-1]["kind"] == "end" else None


class TableReader:
    """Reads a table, and later only what has been added to it.

    >>> reader = TableReader("runs/train/mine/0001")
    >>> reader.update() > 0, reader.update()
    (True, 0)
    """

    def __init__(self, run: str) -> None:
        self.folder = metrics_folder(run)
        self._compact: str | None = None
        self._compacted: list[Row] = []
        self._read: dict[Part, list[Row]] = {}
        self._unread = 0

    def update(self) -> int:
        """Read what is new; number of its rows. Raises StorageError."""
        for attempt in (1, 2):
            try:
                return self._update()
            except StorageError:  # parts vanish when the run ends and they become one file
                if attempt == 2:
                    raise
        return 0

    def _update(self) -> int:
        new = 0
        compact = max((u for u in storage.list_files(self.folder) if u.endswith(COMPACT)), default=None)
        if compact != self._compact and compact is not None:
            rows = _read_compact(compact)
            new += max(0, len(rows) - len(self._compacted) - sum(map(len, self._read.values())))
            self._compact, self._compacted, self._read = compact, rows, {}
        covered = attempt_of(self._compact)
        parts = [p for p in list_parts(self.folder) if p.attempt > covered and p not in self._read]
        for part, lines in read_parts(parts):
            rows = [row for line in lines if (row := self._parse(line, part.attempt)) is not None]
            self._read[part] = rows
            new += len(rows)
        return new

    def table(self) -> MetricsTable:
        """The rows that count, of all that has been read."""
        rows = self._compacted + [row for part in sorted(self._read) for row in self._read[part]]
        kept = counting(rows)
        return MetricsTable(kept, len(rows) - len(kept), self._unread)

    def _parse(self, line: str, attempt: int) -> Row | None:
        try:
            row = json.loads(line)
            if not {"kind", "total", "time"} <= row.keys():
                raise ValueError
        except (ValueError, AttributeError):
            self._unread += 1
            return None
        return {"epoch": 0, **row, "attempt": attempt}


def counting(rows: Sequence[Row]) -> list[Row]:
    """Without what attempts wrote beyond the step from which a later attempt resumed.

    >>> first = [{"attempt": 1, "kind": "step", "total": t} for t in (10, 20, 30)]
    >>> second = [{"attempt": 2, "kind": "begin", "total": 20}, {"attempt": 2, "kind": "step", "total": 30}]
    >>> [(row["attempt"], row["total"]) for row in counting(first + second)]
    [(1, 10), (1, 20), (2, 20), (2, 30)]
    """
    by_attempt: dict[int, list[Row]] = {}
    for row in rows:
        by_attempt.setdefault(int(row["attempt"]), []).append(row)
    kept: list[Row] = []
    limit = math.inf
    for _, own in sorted(by_attempt.items(), reverse=True):
        before: list[Row] = []
        for row in reversed(own):  # one attempt can begin several times: it goes back to a checkpoint
            resumed = row["kind"] == "begin"
            if row["total"] <= limit and not (row["kind"] == "end" and kept):
                before.append(row)
            if resumed:
                limit = min(limit, row["total"])
        first = own[0]
        if first["kind"] != "begin":
            limit = min(limit, first["total"] - 1)
        kept = before[::-1] + kept
    return kept


def is_number(value: Any) -> bool:
    """Whether a cell is a number (a NaN is one).

    >>> [is_number(v) for v in (1, 0.5, True, "1", None)]
    [True, True, False, False, False]
    """
    return isinstance(value, int | float) and not isinstance(value, bool)


def lower_is_better(name: str) -> bool:
    """Whether the lowest value of a metric is its best: losses, seconds, waiting, dead experts.

    >>> [lower_is_better(n) for n in ("loss/id", "val/mAP", "data_wait")]
    [True, False, True]
    """
    return name.startswith("loss") or name.endswith(("seconds", "data_wait", "device_mib", "dead"))


def attempt_of(compact: str | None) -> int:
    """The newest attempt whose rows a compacted file holds; 0 without one.

    >>> attempt_of("runs/a/metrics/0003-all.parquet"), attempt_of(None)
    (3, 0)
    """
    return int(compact.rpartition("/")[2].partition("-")[0]) if compact else 0


def to_lines(rows: Iterable[Row]) -> list[str]:
    """Rows as lines of JSON; what is not finite is kept (NaN, Infinity), as `json` of Python reads it.

    >>> to_lines([{"kind": "end", "total": 3}])
    ['{"kind": "end", "total": 3}']
    """
    return [json.dumps(row) for row in rows]


def _read_compact(uri: str) -> list[Row]:
    import io

    import pyarrow.parquet as pq

    table = pq.read_table(io.BytesIO(storage.read_bytes(uri)))
    return [{k: v for k, v in row.items() if v is not None} for row in table.to_pylist()]
