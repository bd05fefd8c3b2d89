"""The observer of every training: its lines for a person, and its checkpoints."""

from __future__ import annotations

from pipelines.training.lines import TrainLines
from reid.train.checkpoints.writing import CheckpointWriter
from reid.train.reports import CheckpointPlace, EpochReport, Save, StepReport, TrainingObserver


class KeepingObserver(TrainingObserver):
    """Keeps checkpoints, and tells a person."""

    def __init__(self, kept: CheckpointWriter, lines: TrainLines) -> None:
        self.kept, self.lines = kept, lines

    def step(self, report: StepReport) -> None:
        """A line now and then."""
        self.lines.step(report)

    def epoch(self, report: EpochReport) -> None:
        """A line once the epoch's checkpoint is complete: an epoch that was told is kept."""
        self.lines.ended(report)
        self.kept.when_written(lambda: self.lines.epoch(report))

    def notice(self, line: str) -> None:
        """The line as it is."""
        self.lines.out(f"train: {line}")

    def checkpoint(self, at: CheckpointPlace, save: Save) -> None:
        """Begin to write it."""
        self.kept.begin(at, save)
