"""Compares several reports: one table for each pairing, with the best number of each column marked.

Published numbers of the systems are added as faint rows, differences between the reports as warnings.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reid import storage
from reid.errors import DataError, StorageError, UsageError
from reid.evaluate.report.published import NOTE, PublishedRow
from reid.evaluate.report.results import percent
from reid.storage.run_files import find_run

REPORT = "report.json"
METRICS = ("mAP", "R1", "R5", "R10", "mINP")
SAME = {
    "dataset": "data sets",
    "split": "splits",
    "protocol": "protocols",
    "data_fingerprint": "versions of the data set",
}


@dataclass(frozen=True)
class CompareRow:
    """A run's numbers for one pairing, and the columns in which no other run is better."""

    name: str
    numbers: dict[str, Any]
    best: frozenset[str]


@dataclass(frozen=True)
class CompareTable:
    """One pairing."""

    pair: str
    rows: tuple[CompareRow, ...]
    published: tuple[PublishedRow, ...]


@dataclass(frozen=True)
class ReportComparison:
    """The contents of compare.json, compare.md and compare.html."""

    runs: tuple[dict[str, Any], ...]  # name, dataset, split, protocol, fingerprints, report
    tables: tuple[CompareTable, ...]
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The content of compare.json."""
        tables = [
            {
                "pair": table.pair,
                "rows": [{"run": r.name, **r.numbers, "best": sorted(r.best)} for r in table.rows],
                "published": [row.to_dict() for row in table.published],
            }
            for table in self.tables
        ]
        return {"runs": list(self.runs), "tables": tables, "warnings": list(self.warnings)}


def find_report(uri: str, option: str = "--compare") -> str:
    """The report.json of a file, an evaluation's folder, a run folder, or the newest of a folder of runs.

    `option` is what messages name. Raises UsageError if there is none, or more than one in a run folder;
    WeightsError for a folder of several runs, of which LATEST names none.
    """
    where = storage.absolute(uri)
    if where.endswith(".json"):
        return where
    if storage.exists(storage.join(where, REPORT)):
        return storage.join(where, REPORT)
    where = find_run(where)
    try:
        inside = storage.list_folders(storage.join(where, "evaluate"))
    except StorageError:
        inside = []
    found = [report for f in inside if storage.exists(report := storage.join(f, REPORT))]
    if len(found) == 1:
        return found[0]
    if not found:
        raise UsageError(
            f"{option} {uri}: no {REPORT} here; evaluate the run first (python -m jobs.evaluate)."
        )
    raise UsageError(f"{option} {uri}: this run has several reports; name one of them: {', '.join(found)}.")


def read_report(uri: str) -> dict[str, Any]:
    """The contents of a report.json. Raises DataError for another file, StorageError for a missing one."""
    try:
        tree = storage.read_json(uri)
        known = {"run": tree["run"], "rows": [(row["query"], row["gallery"]) for row in tree["results"]]}
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError):
        known = {}
    if not known:
        raise DataError(f"{uri} is no report of an evaluation ({REPORT}).")
    return {**tree, "report": uri}


def compare_reports(reports: Sequence[dict[str, Any]]) -> ReportComparison:
    """Reports (as `read_report`) to tables. Raises UsageError for fewer than two."""
    if len(reports) < 2:
        raise UsageError("A comparison needs two reports or more: --compare A --compare B.")
    names = _names(reports)
    runs = tuple(_run(name, report) for name, report in zip(names, reports, strict=True))
    stated = dict.fromkeys(PublishedRow.from_dict(r) for tree in reports for r in tree.get("published", ()))
    pairs = dict.fromkeys(_pair(row) for tree in reports for row in _rows(tree))
    tables = []
    for pair in pairs:
        rows = [
            (name, row)
            for name, tree in zip(names, reports, strict=True)
            for row in _rows(tree)
            if _pair(row) == pair
        ]
        rivals = len(rows) > 1
        most = {m: max((r[m] for _, r in rows if r.get(m) is not None), default=None) for m in METRICS}
        marked = tuple(
            CompareRow(
                name,
                row,
                frozenset(m for m in METRICS if rivals and most[m] is not None and row.get(m) == most[m]),
            )
            for name, row in rows
        )
        published = tuple(p for p in stated if _pair({"query": p.query, "gallery": p.gallery}) == pair)
        tables.append(CompareTable(pair, marked, published))
    tables.sort(key=lambda table: -len(table.rows))  # what all have comes first
    return ReportComparison(runs, tuple(tables), _warnings(runs))


def render_compare_markdown(comparison: ReportComparison) -> str:
    """compare.md: best numbers bold, published ones in italics."""
    from reid.evaluate.report.rendering import escape_markdown, with_interval

    lines = ["# Comparison of " + ", ".join(escape_markdown(run["name"]) for run in comparison.runs), ""]
    for run in comparison.runs:
        about = f"{run['dataset']} ({run['split']}), protocol {run['protocol']}"
        name, model = escape_markdown(run["name"]), escape_markdown(run["model_fingerprint"])
        lines.append(f"- **{name}**: {escape_markdown(about)}, model `{model}`")
    lines += [f"\n> **Warning.** {escape_markdown(w)}" for w in comparison.warnings]
    for table in comparison.tables:
        lines += [
            "",
            f"## {escape_markdown(table.pair)}",
            "",
            f"| Run | {' | '.join(METRICS)} | Queries | Gallery |",
        ]
        lines.append(f"|---|{'---:|' * (len(METRICS) + 2)}")
        for row in table.rows:
            shown = {m: percent(row.numbers.get(m)) for m in METRICS}
            shown["mAP"] = with_interval(row.numbers)
            cells = [f"**{shown[m]}**" if m in row.best else shown[m] for m in METRICS]
            sizes = [str(row.numbers.get(key, "–")) for key in ("queries", "gallery_size")]
            lines.append(f"| {' | '.join([escape_markdown(row.name), *cells, *sizes])} |")
        for p in table.published:
            cells = [f"*{percent(p.get(m))}*" if p.get(m) is not None else "–" for m in METRICS]
            label = f"*{escape_markdown(p.label)} ({escape_markdown(p.source)}; {NOTE})*"
            lines.append(f"| {' | '.join([label, *cells, '–', '–'])} |")
    return "\n".join([*lines, "", "Numbers in %; the best of each column that was measured is bold."]) + "\n"


def render_compare_html(comparison: ReportComparison) -> str:
    """compare.html: one self-contained page like report.html."""
    from reid.evaluate.report.figures import cmc_chart
    from reid.evaluate.report.pages import environment

    templates = environment()
    templates.filters["percent"] = percent
    curves = [
        [(row.name, row.numbers["cmc"]) for row in table.rows if row.numbers.get("cmc")]
        for table in comparison.tables
    ]
    charts = [cmc_chart(several) if len(several) > 1 else None for several in curves]
    return templates.get_template("compare.html.j2").render(
        c=comparison, metrics=METRICS, note=NOTE, tables=list(zip(comparison.tables, charts, strict=True))
    )


def write_comparison(comparison: ReportComparison, folder: str | Path) -> dict[str, str]:
    """Write compare.json, compare.md and compare.html to a local or s3:// folder; {file name: uri}."""
    where = storage.absolute(folder)
    storage.make_dir(where)
    tree = json.dumps(comparison.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    forms = {
        "compare.json": tree,
        "compare.md": render_compare_markdown(comparison),
        "compare.html": render_compare_html(comparison),
    }
    for name, text in forms.items():
        storage.write_bytes(storage.join(where, name), text.encode())
    return {name: storage.join(where, name) for name in forms}


def compare_lines(comparison: ReportComparison, files: dict[str, str]) -> list[str]:
    """A short table for a terminal; * marks the best."""
    lines = [f"warning: {warning}" for warning in comparison.warnings]
    for table in comparison.tables:
        lines.append(f"{table.pair:<44}" + "".join(f"{m:>8}" for m in METRICS))
        for row in table.rows:
            cells = [percent(row.numbers.get(m)) + ("*" if m in row.best else " ") for m in METRICS]
            lines.append(f"  {row.name:<42}" + "".join(f"{cell:>8}" for cell in cells))
        for p in table.published:
            cells = [percent(p.get(m)) + " " for m in METRICS]
            lines.append(f"  {f'({p.label}, published)':<42}" + "".join(f"{cell:>8}" for cell in cells))
    return [*lines, f"comparison: {files['compare.html']}"]


def _rows(report: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of a report, with its means over groups of rows as rows of their own."""
    means = [
        {"query": f"mean of {mean['name']}", "gallery": f"mean of {mean['name']}", **mean}
        for mean in report.get("averages", ())
    ]
    return [*report["results"], *means]


def _names(reports: Sequence[dict[str, Any]]) -> list[str]:
    """The runs' names; equal ones are distinguished by fingerprint or number."""
    names = [str(tree["run"]) for tree in reports]
    if len(set(names)) < len(names):
        names = [f"{n}, {tree.get('model_fingerprint')}" for n, tree in zip(names, reports, strict=True)]
    if len(set(names)) < len(names):
        names = [f"{name} #{i}" for i, name in enumerate(names, 1)]
    return names


def _run(name: str, report: dict[str, Any]) -> dict[str, Any]:
    protocol = report.get("protocol")
    known = protocol.get("name") if isinstance(protocol, dict) else protocol
    keys = ("dataset", "split", "model_fingerprint", "data_fingerprint", "report")
    return {"name": name, "protocol": known, **{key: report.get(key) for key in keys}}


def _pair(row: dict[str, Any]) -> str:
    return str(row["query"]) if row["query"] == row["gallery"] else f"{row['query']} → {row['gallery']}"


def _warnings(runs: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    found = []
    for key, what in SAME.items():
        values = list(dict.fromkeys(str(run[key]) for run in runs))
        if len(values) > 1:
            found.append(
                f"The reports are of different {what} ({', '.join(values)}): do not rank the runs by them."
            )
    return tuple(found)
