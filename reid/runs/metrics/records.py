"""Runs as they lie in a folder, finished or not: their state, progress, configuration and metrics."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from reid import storage
from reid.errors import DataError, StorageError
from reid.runs.metrics.table import FOLDER, MetricsTable, TableReader, is_number
from reid.storage.run_files import RUN_FILE

STATES = ("running", "interrupted", "stopped", "failed", "finished")
_CONFIG = "config.json"
_MARKS = {RUN_FILE, FOLDER}
_DEEPEST = 2
_AT_ONCE = 8
QUIET_S = 600.0
"""A run whose table grew within so many seconds is running; one that reports rarely, within three pauses."""


@dataclass(frozen=True)
class RunRecord:
    """What a run folder tells.

    Args:
        uri: of the run folder.
        state: one of STATES. A run that was killed is "interrupted": its table says no end and grows no more.
        config: the configuration, as data; {} if it could not be written.
        table: its metrics.
        info: run.json of a finished run, else {}.
        now: when it was looked at, in seconds since 1970.
        reader: has read the table, and reads only what is new.
    """

    uri: str
    state: str
    config: dict[str, Any]
    table: MetricsTable
    info: dict[str, Any] = field(default_factory=dict)
    now: float = field(default_factory=time.time)
    reader: TableReader | None = field(default=None, repr=False, compare=False)

    @property
    def name(self) -> str:
        """The folder's two last parts: the configuration's name and the run's fingerprint."""
        return "/".join(self.uri.rstrip("/").split("/")[-2:])

    @property
    def epochs(self) -> tuple[int, int | None]:
        """Whole epochs done, and those that the configuration asks for."""
        done = max((int(row["epoch"]) for row in self.table.rows), default=int(self.info.get("epochs") or 0))
        wanted = (self.config.get("train") or {}).get("epochs")
        return done, wanted

    @property
    def steps(self) -> int:
        """Optimiser steps in all."""
        return max((int(row["total"]) for row in self.table.rows), default=int(self.info.get("steps") or 0))

    @property
    def age_s(self) -> float | None:
        """Seconds since the newest row; None without one."""
        return None if self.table.written is None else max(0.0, self.now - self.table.written)

    @property
    def error(self) -> str:
        """Why it failed; "" if it did not."""
        return str((self.table.ended or {}).get("error", "")) if self.state == "failed" else ""

    @property
    def eta_s(self) -> float | None:
        """Seconds that a running run still takes; None where that cannot be told.

        As the training itself told it, else by the pace of this attempt, validation included.
        """
        wanted = self.epochs[1]
        steps = self.table.steps()
        if self.state != "running" or wanted is None or not steps:
            return None
        last = steps[-1]
        if is_number(last.get("eta_s")):
            return max(0.0, float(last["eta_s"]) - float(self.now - last["time"]))
        begin = next((r for r in reversed(self.table.rows) if r["kind"] == "begin"), None)
        if begin is None or last["total"] <= begin["total"] or not last.get("steps"):
            return None
        pace: float = (last["time"] - begin["time"]) / (last["total"] - begin["total"])
        left: int = wanted * int(last["steps"]) - last["total"]
        return max(0.0, left * pace - float(self.now - last["time"]))

    def again(self) -> RunRecord:
        """The run as it is now. Only new parts of its table are read."""
        return read_run(self.uri, reader=self.reader)


def read_run(uri: str, reader: TableReader | None = None) -> RunRecord:
    """The record of a run folder. Raises DataError where none is, StorageError.

    >>> record = read_run("runs/train/mine/0001")
    >>> record.state, record.epochs, record.eta_s
    ('finished', (1, 1), None)
    """
    root = storage.absolute(uri)
    inside = _names(root)
    if not _MARKS & inside:
        raise DataError(f"{root}: no run here: neither {RUN_FILE} nor a table of metrics ({FOLDER}/).")
    return _record(root, inside, time.time(), reader)


def newest_run(uri: str) -> RunRecord:
    """The run that a uri stands for: itself, or of a folder of runs the one whose table is newest.

    Raises DataError where no run is.

    >>> newest_run("runs/train/mine").name
    'mine/0001'
    """
    return max(find_runs(uri), key=lambda record: (record.table.written or 0.0, record.uri))


def find_runs(uri: str) -> list[RunRecord]:
    """Every run at a uri: a run folder, a folder of runs, `<workdir>/train`, or a working folder.

    Args:
        uri: local or s3://.

    Returns:
        The runs by uri. Raises DataError when there is none.

    >>> [record.name for record in find_runs("runs")]
    ['mine/0001']
    """
    root, now = storage.absolute(uri), time.time()
    found: list[tuple[str, set[str]]] = []
    if "train" in (inside := _names(root)) and not _MARKS & inside:
        root = storage.join(root, "train")
        inside = _names(root)
    level = [(root, inside)]
    for depth in range(_DEEPEST + 1):
        found += [(place, names) for place, names in level if _MARKS & names]
        if depth == _DEEPEST:
            break
        below = [
            folder for place, names in level if not _MARKS & names for folder in storage.list_folders(place)
        ]
        with ThreadPoolExecutor(_AT_ONCE) as readers:
            level = list(zip(below, readers.map(_names, below), strict=True))
    if not found:
        raise DataError(
            f"{root}: no runs here. Give a run folder, a folder of runs such as <workdir>/train/<name>, or "
            "the working folder."
        )
    with ThreadPoolExecutor(_AT_ONCE) as readers:
        return list(readers.map(lambda one: _record(one[0], one[1], now), sorted(found)))


def _names(folder: str) -> set[str]:
    return {entry.name for entry in storage.list_entries(folder)}


def _record(root: str, inside: set[str], now: float, reader: TableReader | None = None) -> RunRecord:
    reader = reader or TableReader(root)
    if FOLDER in inside:
        reader.update()
    table = reader.table()
    info = storage.read_json(storage.join(root, RUN_FILE)) if RUN_FILE in inside else {}
    try:
        config = storage.read_json(storage.join(root, _CONFIG)) if _CONFIG in inside else {}
    except StorageError:
        config = {}
    return RunRecord(root, _state(table, bool(info), now), config, table, info, now, reader)


def _state(table: MetricsTable, has_result: bool, now: float) -> str:
    ended = table.ended
    if ended is not None and ended.get("why") in ("stopped", "failed"):
        return str(ended["why"])
    if has_result and (ended is not None or not table.rows):
        return "finished"
    if table.written is None:
        return "interrupted"
    times = [float(row["time"]) for row in table.rows if row["kind"] in ("step", "epoch")][-10:]
    pause = max((b - a for a, b in pairwise(times)), default=0.0)
    if now - table.written <= max(QUIET_S, 3 * pause):
        return "running"
    return "finished" if has_result else "interrupted"
