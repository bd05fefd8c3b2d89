"""One self-contained HTML page of the curves of runs: losses, validation, rates, throughput, routers."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Sequence
from typing import Any

from reid.evaluate.report.pages import environment
from reid.runs.metrics.comparing import config_differences, metric_rows, shown
from reid.runs.metrics.records import RunRecord

_PACKAGE = "reid.runs.metrics"
_MOST_POINTS = 1200
_LOAD = re.compile(r"stat/(?:(.+)/)?load/(\d+)")
GROUPS: dict[str, tuple[str, ...]] = {
    "Validation": (r"val/.*",),
    "Losses": (r"loss", r"loss/.*"),
    "Learning rate and gradient": (r"lr", r"lr/.*", r"grad_norm"),
    "Throughput": (r"rows_per_s", r"step_seconds", r"data_wait", r"mfu", r"device_mib"),
    "Routers: dead experts and entropy": (r"stat/(.*/)?dead", r"stat/(.*/)?entropy"),
    "Other": (r".*",),
}
"""Sections of the page in order: a metric is in the first whose patterns it matches."""
_ELSEWHERE = re.compile(r"seconds|eta_s|stat/(.*/)?load/\d+|stat/(.*/)?tokens/.*")
"""Drawn as loads of routers, or no curve."""


def render_curves(records: Sequence[RunRecord]) -> str:
    """The page; several runs are drawn over each other, below what their configurations say differently.

    Args:
        records: one run or several.

    Returns:
        HTML that loads nothing from elsewhere. All texts are escaped; every number is one of the tables.
    """
    one = records[0]
    return (
        environment(_PACKAGE)
        .get_template("curves.html.j2")
        .render(
            data=curve_data(records),
            title=one.name if len(records) == 1 else f"{len(records)} runs",
            runs=[_facts(record) for record in records],
            differences=[(n, [shown(v) for v in values]) for n, values in config_differences(records)],
            metrics=[
                (name, [(shown(last), shown(best)) for last, best in values])
                for name, values in metric_rows(records)
                if not _ELSEWHERE.fullmatch(name)
            ],
            written=time.strftime("%Y-%m-%d %H:%M", time.localtime(one.now)),
        )
    )


def curve_data(records: Sequence[RunRecord]) -> dict[str, Any]:
    """What the page draws, JSON-able.

    Returns:
        `runs` (names), `groups` ([title, [{metric, curves: [{run, x, y}]}]]) and `routers` ([{run, name, x,
        loads: a list an expert}]). x are optimiser steps in all. Long series keep `_MOST_POINTS` of their own
        points, with the lowest and highest of every stretch; what is not finite is null.
    """
    names = dict.fromkeys(name for record in records for name in record.table.names())
    charts: dict[str, list[dict[str, Any]]] = {title: [] for title in GROUPS}
    for name in sorted(names, key=_natural):
        if _ELSEWHERE.fullmatch(name):
            continue
        group = next(t for t, patterns in GROUPS.items() if any(re.fullmatch(p, name) for p in patterns))
        curves = [
            {"run": i, "x": [x for x, _ in points], "y": [_finite(y) for _, y in points]}
            for i, record in enumerate(records)
            if (points := thinned(record.table.series(name)))
        ]
        charts[group].append({"metric": name, "curves": curves})
    return {
        "runs": [record.name for record in records],
        "groups": [[title, found] for title, found in charts.items() if found],
        "routers": [router for i, record in enumerate(records) for router in _routers(i, record)],
    }


def thinned(points: list[tuple[int, float]], most: int = _MOST_POINTS) -> list[tuple[int, float]]:
    """At most about `most` of the points: the lowest, the highest and the last of each stretch.

    >>> thinned([(n, float(n % 7)) for n in range(100)], most=9)[:3]
    [(0, 0.0), (6, 6.0), (33, 5.0)]
    """
    if len(points) <= most:
        return points
    stretches = max(1, most // 3)
    size = math.ceil(len(points) / stretches)
    kept: list[tuple[int, float]] = []
    for first in range(0, len(points), size):
        part = points[first : first + size]
        finite = [p for p in part if math.isfinite(p[1])] or part
        ends = {min(finite, key=lambda p: p[1]), max(finite, key=lambda p: p[1]), part[-1]}
        kept += sorted(ends)
    return kept


def _routers(number: int, record: RunRecord) -> list[dict[str, Any]]:
    found: dict[str, dict[int, str]] = {}
    for name in record.table.names():
        if match := _LOAD.fullmatch(name):
            found.setdefault(match[1] or "experts", {})[int(match[2])] = name
    routers = []
    for router, experts in sorted(found.items(), key=lambda item: _natural(item[0])):
        columns = [experts[e] for e in sorted(experts)]
        rows = [row for row in record.table.steps() if all(c in row for c in columns)]
        rows = rows or [row for row in record.table.epochs() if all(c in row for c in columns)]
        rows = rows[:: max(1, math.ceil(len(rows) / 300))]
        routers.append(
            {
                "run": number,
                "name": router,
                "x": [row["total"] for row in rows],
                "loads": [[_finite(row[c]) for row in rows] for c in columns],
            }
        )
    return routers


def _facts(record: RunRecord) -> dict[str, Any]:
    done, wanted = record.epochs
    return {
        "name": record.name,
        "uri": record.uri,
        "state": record.state,
        "error": record.error,
        "epochs": f"{done} of {wanted}" if wanted is not None else str(done),
        "steps": f"{record.steps:,}",
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _natural(name: str) -> list[tuple[int, str]]:
    """block10 after block9."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name) if part]
