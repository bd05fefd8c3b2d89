"""Several reports of one protocol as one: the mean of each row over splits (RegDB's ten), or over seeds.

The result has the form of a report, so that it can be compared with others; `trials` of a row has the spread.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reid import storage
from reid.errors import UsageError
from reid.evaluate.report.rendering import escape_markdown
from reid.evaluate.report.results import percent

AVERAGE = "average.json"
_ALIKE = {"dataset": "data sets", "split": "splits", "protocol": "protocols"}
Numbers = Mapping[str, Any]


def average_reports(reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The mean of each row, and of each mean over rows, over all reports (as `read_report` gives them).

    Raises UsageError for fewer than two reports, the same one twice, other data sets, splits or protocols,
    and a row that some of them lack: a mean over other reports for each row would be no number of anything.
    """
    if len(reports) < 2:
        raise UsageError("A mean needs two reports or more: --average A --average B.")
    uris = [str(tree["report"]) for tree in reports]
    if len(set(uris)) < len(uris):
        twice = next(uri for uri in uris if uris.count(uri) > 1)
        raise UsageError(f"--average: {twice} is given twice.")
    for key, what in _ALIKE.items():
        values = list(dict.fromkeys(_named(tree.get(key)) for tree in reports))
        if len(values) > 1:
            raise UsageError(f"--average: the reports are of different {what} ({', '.join(values)}).")
    rules = {json.dumps(_rules(tree), sort_keys=True) for tree in reports}
    if len(rules) > 1:
        name = _named(reports[0].get("protocol"))
        raise UsageError(f"--average: the reports call different protocols {name}; evaluate with one.")
    first = reports[0]
    return {
        "version": first.get("version"),
        "run": f"mean of {len(reports)}: {', '.join(dict.fromkeys(str(tree['run']) for tree in reports))}",
        **{key: first.get(key) for key in _ALIKE},
        "model_fingerprint": None,
        "data_fingerprint": _one_of([tree.get("data_fingerprint") for tree in reports]),
        "reports": [
            {key: tree.get(key) for key in ("run", "model_fingerprint", "data_fingerprint", "report")}
            for tree in reports
        ],
        "results": _rows(reports, "results", ("query", "gallery", "name")),
        "averages": _rows(reports, "averages", ("name",)),
        "warnings": list(dict.fromkeys(w for tree in reports for w in tree.get("warnings", ()))),
    }


def render_average_markdown(average: Mapping[str, Any]) -> str:
    """average.md: the table of means with their spread, and what they are of."""
    metrics = [
        m for m in ("mAP", "R1", "R5", "R10", "R20", "mINP") if any(m in r for r in average["results"])
    ]
    lines = [f"# {escape_markdown(average['run'])}", "", f"| Row | {' | '.join(metrics)} |"]
    lines.append(f"|---|{'---:|' * len(metrics)}")
    for row in (*average["results"], *average["averages"]):
        cells = [escape_markdown(_label(row)), *(_cell(row, metric) for metric in metrics)]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "Numbers in %: the mean over the reports ± their standard deviation.", ""]
    for tree in average["reports"]:
        marks = f"model `{tree['model_fingerprint']}`, data `{tree['data_fingerprint']}`"
        lines.append(f"- {escape_markdown(str(tree['run']))}: {marks}")
    return "\n".join(lines) + "\n"


def write_average(average: Mapping[str, Any], folder: str | Path) -> dict[str, str]:
    """Write average.json and average.md to a local or s3:// folder; {file name: uri}."""
    where = storage.absolute(folder)
    storage.make_dir(where)
    tree = json.dumps(average, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    forms = {AVERAGE: tree, "average.md": render_average_markdown(average)}
    for name, text in forms.items():
        storage.write_bytes(storage.join(where, name), text.encode())
    return {name: storage.join(where, name) for name in forms}


def average_lines(average: Mapping[str, Any], files: Mapping[str, str]) -> list[str]:
    """A short table for a terminal, in %."""
    metrics = ("mAP", "R1", "mINP")
    count = len(average["reports"])
    lines = [f"{f'mean of {count} reports':<44}" + "".join(f"{metric:>15}" for metric in metrics)]
    for row in (*average["results"], *average["averages"]):
        lines.append(f"{_label(row):<44}" + "".join(f"{_cell(row, metric):>15}" for metric in metrics))
    return [*lines, f"average: {files[AVERAGE]}"]


def _rows(reports: Sequence[Mapping[str, Any]], part: str, names: Sequence[str]) -> list[dict[str, Any]]:
    """The mean of each row of a part of the reports, in the order of the first one."""
    tables = [{tuple(row.get(n) for n in names): row for row in tree.get(part, ())} for tree in reports]
    every = dict.fromkeys(key for table in tables for key in table)
    found = []
    for key in every:
        lacking = [tree["report"] for tree, of in zip(reports, tables, strict=True) if key not in of]
        if lacking:
            label = _label(next(of[key] for of in tables if key in of))
            raise UsageError(
                f"--average: {lacking[0]} has no row {label!r}; evaluate all runs with the same rows."
            )
        rows = [of[key] for of in tables]
        named = {name: value for name, value in zip(names, key, strict=True) if value is not None}
        found.append({**named, **_mean(rows)})
    return found


def _mean(rows: Sequence[Numbers]) -> dict[str, Any]:
    """Means of all numbers that every row has; None where one of them has none; chance likewise."""
    metrics = [k for k in rows[0] if k in {"mAP", "mINP"} or (k[:1] == "R" and k[1:].isdecimal())]
    values = {metric: [row.get(metric) for row in rows] for metric in metrics}
    means = {metric: _fmean(of) for metric, of in values.items()}
    std = {
        metric: None if means[metric] is None else statistics.stdev(v for v in of if v is not None)
        for metric, of in values.items()
    }
    found: dict[str, Any] = {**means, "trials": {"count": len(rows), "std": std, "values": values}}
    if all(isinstance(row.get("chance"), Mapping) for row in rows):
        found["chance"] = {k: _fmean([row["chance"].get(k) for row in rows]) for k in rows[0]["chance"]}
    if all(row.get("cmc") for row in rows):
        found["cmc"] = [_fmean(list(points)) for points in zip(*(row["cmc"] for row in rows), strict=False)]
    for count in ("queries", "skipped", "gallery_size"):
        of = [row[count] for row in rows if count in row]
        if of:
            found[count] = of[0] if len(set(of)) == 1 else round(statistics.fmean(of))
    return found


def _fmean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known and len(known) == len(values) else None


def _rules(report: Mapping[str, Any]) -> Any:
    """What the protocol consists of, but for the list of companions, which each split has its own of."""
    protocol = report.get("protocol")
    settings = dict((protocol.get("settings") if isinstance(protocol, Mapping) else None) or {})
    companions = settings.get("companions")
    if isinstance(companions, Mapping):
        settings["companions"] = {k: v for k, v in companions.items() if k not in {"file", "sha256"}}
    return settings


def _named(value: Any) -> str:
    return str(value.get("name") if isinstance(value, Mapping) else value)


def _one_of(values: Sequence[Any]) -> Any:
    return values[0] if len(set(values)) == 1 else None


def _label(row: Numbers) -> str:
    if "query" not in row:
        return f"mean of {row['name']}"
    pair = row["query"] if row["query"] == row["gallery"] else f"{row['query']} → {row['gallery']}"
    return f"{row['name']} ({pair})" if row.get("name") else str(pair)


def _cell(row: Numbers, metric: str) -> str:
    spread = row["trials"]["std"].get(metric)
    return percent(row.get(metric)) + ("" if spread is None else f" ± {percent(spread)}")
