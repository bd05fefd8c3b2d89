"""Writes what a training tells: into the run's metrics table, TensorBoard, and the trackers that are set."""

from __future__ import annotations

import logging
import math
import uuid
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

import torch

from reid import storage
from reid.config import Config
from reid.config.addresses import source_hash
from reid.data.shards.shard_set import ShardSet
from reid.errors import AnyReIDError, StorageError
from reid.nn.distributed import world_size
from reid.nn.parameters import parameter_counts
from reid.runs.folder import environment
from reid.runs.metrics.table import is_number
from reid.runs.metrics.writing import TableWriter
from reid.train.reports import CheckpointPlace, EpochReport, Save, StepReport, TrainingObserver
from reid.train.setup import TrainingParts
from reid.train.steps.time_left import TimeLeft
from reid.train.tracking.registry import trackers_of
from reid.train.tracking.tracker import Background, Logged, RunFacts
from reid.train.tracking.utilisation import peak_of, training_flops, utilisation

log = logging.getLogger(__name__)

KEY_FILE = "tracking.json"
_FLUSH_S = 10.0
"""How long a checkpoint waits for the rows before it: a run that resumes from it has them then."""
_END_S = 30.0
"""How long the end of a training waits for the table, and for each tracker."""


class RunTracking(TrainingObserver):
    """The observer of rank 0 that writes table and trackers; a failure of any is told, never raised.

    Use it as a context around the training: at its end the run is finished, stopped or failed.

    Args:
        config: the resolved configuration.
        run: uri of the run folder.
        tell: gets a line about what cannot be written.
    """

    def __init__(self, config: Config, run: str, tell: Callable[[str], None] = log.warning) -> None:
        self._config, self._run, self._tell = config, run, tell
        self._table = TableWriter(run, config.train.tracking.every_s, tell)
        self._trackers: list[Background] | None = None
        self._flops: tuple[float, float] | None = None
        self._total = self._epoch = 0
        self._told: set[int] = set()
        self._final: dict[str, float] = {}
        self._left = TimeLeft(config.train.epochs)

    def begin(self, parts: TrainingParts) -> None:
        """The training starts, or goes on: what was told beyond that step does not count any more."""
        self._total, self._epoch = parts.progress.step, parts.progress.epoch
        self._told = set(range(self._epoch + 1))
        self._table.row("begin", self._total, self._epoch)
        if self._trackers is None:
            self._trackers = []
            try:
                self._trackers = self._started(parts)
            except (AnyReIDError, OSError) as error:  # what only tells stops nothing
                self._tell(f"{self._run}: trackers do not begin ({error}); the table goes on")
        for tracker in self._trackers:
            tracker.begin(self._total)

    def _started(self, parts: TrainingParts) -> list[Background]:
        if (peak := peak_of(self._config, parts.device)) is not None:
            self._flops = training_flops(self._config, parts.model), peak
        keep_config(self._config, self._run, self._tell)
        described = run_facts(self._config, self._run, parts)
        return [Background(one, self._tell) for one in trackers_of(self._config, described)]

    def step(self, report: StepReport) -> None:
        """Metrics within an epoch."""
        self._total, self._epoch = report.total, report.epoch
        self._left.step(report.epoch, report.step, report.steps)
        place: dict[str, Any] = {"step": report.step, "steps": report.steps}
        if (left := self._left.seconds()) is not None:
            place["eta_s"] = round(left, 1)
        metrics = {**report.metrics, **self._utilisation(report.metrics)}
        self._table.row("step", report.total, report.epoch, {**place, **metrics})
        self._pass_on(metrics)

    def epoch(self, report: EpochReport) -> None:
        """Means of an epoch, and its validation."""
        if report.epoch in self._told:
            return
        self._told.add(report.epoch)
        self._left.epoch(report.epoch)
        self._total, self._epoch = report.total, report.epoch
        metrics = {**report.metrics, **self._utilisation(report.metrics)}
        self._final = {k: float(v) for k, v in metrics.items() if is_number(v) and math.isfinite(v)}
        self._table.row("epoch", report.total, report.epoch, metrics)
        validated = {k: v for k, v in metrics.items() if k.startswith("val/")}
        means = {f"epoch/{k}": v for k, v in metrics.items() if k not in validated}
        self._pass_on({**validated, **means})

    def notice(self, line: str) -> None:
        """What a person is told lies in the table, too."""
        self._table.row("notice", self._total, self._epoch, {"text": line})

    def checkpoint(self, at: CheckpointPlace, save: Save) -> None:
        """Write the rows so far, so that a run that resumes there has them."""
        if at.step == 0 and at.metrics:
            self.epoch(EpochReport(at.epoch, at.total, at.metrics))
        self._table.flush(_FLUSH_S)

    def __enter__(self) -> RunTracking:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._trackers is None:  # refused before it began
            return
        why, text = "finished", ""
        if error is not None:
            failed = isinstance(error, Exception)
            why = "failed" if failed else "stopped"
            text = f"{type(error).__name__}: {error}" if failed else ""
        self._table.end(why, self._total, self._epoch, text, _END_S)
        for tracker in self._trackers:
            tracker.end(why, self._final, _END_S)

    def _utilisation(self, metrics: Mapping[str, Any]) -> dict[str, float]:
        rows_per_s = metrics.get("rows_per_s")
        if self._flops is None or not is_number(rows_per_s):
            return {}
        return {"mfu": utilisation(float(rows_per_s or 0), *self._flops, world_size())}

    def _pass_on(self, metrics: Mapping[str, Any]) -> None:
        numbers = {name: float(value) for name, value in metrics.items() if is_number(value)}
        for tracker in self._trackers or ():
            tracker.log(Logged(self._total, self._epoch, numbers))


def run_facts(config: Config, run: str, parts: TrainingParts) -> RunFacts:
    """What trackers are told once: configuration, code, data, machine."""
    device = parts.device
    facts = {
        "version": environment()["anyreid"],
        "code": source_hash(f"reid.models.{config.model.name}", "reid.nn", "reid.train"),
        "data": ShardSet.open(str(config.data.shards)).fingerprint,
        "parameters": parameter_counts(parts.model)["total"],
        "init_from": config.train.init_from or "",
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "workers": world_size(),
    }
    return RunFacts(run, config.name, config.model_dump(mode="json"), facts, run_key(run))


def keep_config(config: Config, run: str, tell: Callable[[str], None]) -> None:
    """Write the configuration into the run folder at once: a run that still trains is compared by it."""
    try:
        storage.write_json(storage.join(run, "config.json"), config.model_dump(mode="json"))
    except StorageError as error:
        tell(f"{run}: the configuration cannot be written yet ({error})")


def run_key(run: str) -> str:
    """What names the run in trackers: drawn once, kept in the run folder, so that resuming finds it.

    >>> run_key("runs/train/another/0001") == run_key("runs/train/another/0001")
    True
    """
    uri = storage.join(run, KEY_FILE)
    try:
        if storage.exists(uri):
            return str(storage.read_json(uri)["key"])
        key = uuid.uuid4().hex[:12]
        storage.write_json(uri, {"key": key})
    except (StorageError, KeyError, TypeError) as error:
        key = uuid.uuid4().hex[:12]
        log.warning("%s: cannot be kept (%s); trackers will take a resumed run for another one", uri, error)
    return key
