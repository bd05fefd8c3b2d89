"""The metrics of a run, appended as parts, against one file that is written whole with every report."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from reid import storage
from reid.runs.metrics.table import MetricsTable
from reid.runs.metrics.writing import TableWriter
from reid.storage.parts import list_parts
from reid.studies.benchmarks.timing import BenchmarkRow, compare

REPORTS = 1000
METRICS = 60
"""Numbers of a report: losses, rates, and the loads of a few routers."""


def metrics_rows(repeats: int) -> Iterator[BenchmarkRow]:
    """Time and bytes of REPORTS reports, and how long training waits for one."""
    report = {f"stat/block{n // 8}/load/{n % 8}": 1 / (n + 3) for n in range(METRICS)}
    with tempfile.TemporaryDirectory() as folder:
        calls = {
            "append": lambda: _append(Path(folder) / "append", report),
            "rewrite": lambda: _rewrite(Path(folder) / "rewrite", report),
        }
        found = compare(calls, repeats, torch.device("cpu"))
        appended, rewritten = calls["append"](), calls["rewrite"]()
        waited = min(_seconds_waited(Path(folder) / "row", report) for _ in range(repeats))
    own, other = found["append"].seconds, found["rewrite"].seconds
    yield BenchmarkRow(
        f"train/metrics/{REPORTS} reports, a write each", own, "s", other, other / own, target=1.0
    )
    yield BenchmarkRow(
        f"train/metrics/bytes of {REPORTS} reports",
        appended / 2**20,
        "MiB",
        rewritten / 2**20,
        rewritten / appended,
        target=100.0,
    )
    yield BenchmarkRow("train/metrics/a report, as training waits for it", 1e6 * waited / REPORTS, "us")


def _append(folder: Path, report: dict[str, Any]) -> int:
    """Bytes written, each report as a part of its own: the worst case, without the pauses of a run."""
    _clear(folder)
    table = TableWriter(str(folder), every_s=0.0)
    for total in range(REPORTS):
        table.row("step", total, 0, report)
        table.flush(60.0)
    size = sum(Path(part.uri).stat().st_size for part in list_parts(str(folder / "metrics")))
    table.end("stopped", REPORTS, 0)
    assert len(MetricsTable.of(str(folder)).steps()) == REPORTS
    return size


def _rewrite(folder: Path, report: dict[str, Any]) -> int:
    """Bytes written when the file of all reports is put whole each time, as object stores ask for."""
    lines, size = [], 0
    for total in range(REPORTS):
        lines.append(json.dumps({"total": total, **report}))
        data = ("\n".join(lines) + "\n").encode()
        storage.write_bytes(str(folder / "metrics.jsonl"), data)
        size += len(data)
    return size


def _seconds_waited(folder: Path, report: dict[str, Any]) -> float:
    _clear(folder)
    table = TableWriter(str(folder))
    began = time.perf_counter()
    for total in range(REPORTS):
        table.row("step", total, 0, report)
    seconds = time.perf_counter() - began
    table.end("stopped", REPORTS, 0)
    return seconds


def _clear(folder: Path) -> None:
    for file in (folder / "metrics").glob("*"):
        file.unlink()
