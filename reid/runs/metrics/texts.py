"""Runs as lines for a terminal, and as JSON."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from reid import storage
from reid.runs.metrics.comparing import MISSING, config_differences, metric_rows, shown
from reid.runs.metrics.page import render_curves
from reid.runs.metrics.records import RunRecord
from reid.runs.metrics.table import Row

_OF_A_ROW = ("loss", "val/mAP", "lr", "rows_per_s", "data_wait", "mfu", "grad_norm")


def list_lines(records: Sequence[RunRecord], metrics: Sequence[str]) -> list[str]:
    """A table: a run a line, with the last values of these metrics.

    >>> from reid.runs.metrics.records import find_runs
    >>> list_lines(find_runs("runs"), ["loss"])[0].split()
    ['run', 'state', 'epoch', 'step', 'left', 'written', 'loss']
    """
    if not records:
        return ["no run meets the conditions"]
    head = ["run", "state", "epoch", "step", "left", "written", *metrics]
    rows = [
        [
            record.name,
            record.state,
            _epochs(record),
            str(record.steps),
            _duration(record.eta_s),
            MISSING if record.age_s is None else f"{_duration(record.age_s)} ago",
            *(shown(record.table.last(name)) for name in metrics),
        ]
        for record in records
    ]
    errors = [f"  {record.name}: {record.error}" for record in records if record.error]
    return [*_aligned([head, *rows]), *errors]


def show_lines(record: RunRecord) -> list[str]:
    """The facts of a run, and the last and best of every metric."""
    left = "" if record.eta_s is None else f", {_duration(record.eta_s)} left"
    age = "" if record.age_s is None else f", written {_duration(record.age_s)} ago"
    lines = [record.uri, f"  {record.state}: epoch {_epochs(record)}, step {record.steps}{left}{age}"]
    if record.error:
        lines.append(f"  {record.error}")
    begins = sum(row["kind"] == "begin" for row in record.table.rows)
    if begins > 1:
        lines.append(f"  resumed {begins - 1} times; {record.table.superseded} rows were replaced")
    if record.table.unread:
        lines.append(f"  {record.table.unread} lines of its table cannot be read")
    rows = [[name, shown(last), shown(best)] for name, [(last, best)] in metric_rows([record])]
    return [*lines, *(f"  {line}" for line in _aligned([["metric", "last", "best"], *rows]))]


def compare_lines(records: Sequence[RunRecord]) -> list[str]:
    """Fields that differ, a column a run; then the last (best) of every metric."""
    names = [f"[{i}]" for i in range(1, len(records) + 1)]
    lines = [f"{n} {r.uri}: {r.state}, epoch {_epochs(r)}" for n, r in zip(names, records, strict=True)]
    fields = [[name, *(shown(v) for v in values)] for name, values in config_differences(records)]
    lines += ["", *(_aligned([["field", *names], *fields]) if fields else ["the configurations are equal"])]
    cells = [
        [name, *(MISSING if last is None else f"{shown(last)} ({shown(best)})" for last, best in values)]
        for name, values in metric_rows(records)
    ]
    return [*lines, "", *_aligned([["metric: last (best)", *names], *cells])]


def row_line(row: Row, record: RunRecord) -> str:
    """A report as a line.

    >>> from reid.runs.metrics.records import read_run
    >>> row = {"kind": "step", "total": 5, "epoch": 0, "time": 0.0, "loss": 2.5}
    >>> row_line(row, read_run("runs/train/mine/0001"))
    '... step 5, loss 2.5'
    """
    when = time.strftime("%H:%M:%S", time.localtime(float(row["time"])))
    if row["kind"] == "end":
        return f"{when} {row.get('why', 'ended')} after step {row['total']} {row.get('error', '')}".rstrip()
    if row["kind"] == "notice":
        return f"{when} {row.get('text', '')}"
    if row["kind"] == "begin":
        return f"{when} goes on after step {row['total']}"
    wanted = record.epochs[1]
    place = f"epoch {row['epoch']}{f'/{wanted}' if wanted else ''} " if row["kind"] == "epoch" else ""
    numbers = [f"{name} {shown(float(row[name]))}" for name in _OF_A_ROW if name in row]
    left = record.eta_s
    told = [f"{_duration(left)} left"] if left is not None and row is record.table.rows[-1] else []
    return f"{when} {place}step {row['total']}, {', '.join([*numbers, *told])}"


def as_json_record(record: RunRecord) -> dict[str, Any]:
    """The facts of a run with the last and best values."""
    done, wanted = record.epochs
    return {
        "run": record.uri,
        "name": record.name,
        "state": record.state,
        "error": record.error or None,
        "epoch": done,
        "epochs": wanted,
        "step": record.steps,
        "eta_s": record.eta_s,
        "age_s": record.age_s,
        "last": {name: record.table.last(name) for name in record.table.names()},
        "best": {name: record.table.best(name) for name in record.table.names()},
    }


def write_page(records: Sequence[RunRecord], file: str) -> str:
    """Write the page of curves to a file, local or s3://; its uri."""
    uri = storage.absolute(file)
    storage.write_bytes(uri, render_curves(records).encode())
    return uri


def _epochs(record: RunRecord) -> str:
    done, wanted = record.epochs
    return f"{done}/{wanted}" if wanted is not None else str(done)


def _duration(seconds: float | None) -> str:
    """5400.0 -> "1 h 30 min"."""
    if seconds is None:
        return MISSING
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours // 24} d {hours % 24} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min" if minutes >= 2 else f"{60 * minutes + rest} s"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
