"""Observers of a training for tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from reid.train.reports import CheckpointPlace, EpochReport, Save, StepReport, TrainingObserver


class Recorder(TrainingObserver):
    """Keeps every report, and if a folder is given the newest checkpoint in it, or `each` in one of its own.

    `on_epoch` and `on_checkpoint` are called first; what they raise interrupts the training.
    """

    def __init__(
        self,
        folder: Path | None = None,
        each: bool = False,
        on_epoch: Callable[[EpochReport], None] = lambda report: None,
        on_checkpoint: Callable[[CheckpointPlace], None] = lambda place: None,
    ) -> None:
        self.each, self.folder, self.on_epoch, self.on_checkpoint = each, folder, on_epoch, on_checkpoint
        self.steps: list[StepReport] = []
        self.epochs: list[EpochReport] = []
        self.notices: list[str] = []
        self.places: list[CheckpointPlace] = []

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """Of every epoch."""
        return [report.metrics for report in self.epochs]

    def step(self, report: StepReport) -> None:
        self.steps.append(report)

    def epoch(self, report: EpochReport) -> None:
        self.on_epoch(report)
        self.epochs.append(report)

    def notice(self, line: str) -> None:
        self.notices.append(line)

    def checkpoint(self, at: CheckpointPlace, save: Save) -> None:
        self.on_checkpoint(at)
        self.places.append(at)
        if self.folder is not None:
            save(self.folder / at.name if self.each else self.folder)
