"""Lines for a person while a training runs."""

from __future__ import annotations

import time

from pipelines.progress import Say, duration
from reid.train.reports import EpochReport, StepReport
from reid.train.steps.time_left import TimeLeft
from reid.train.validation.checks import of_few


class TrainLines:
    """Lines for a person: one an epoch, and one every half minute within long epochs."""

    def __init__(self, epochs: int, out: Say, every: float = 30.0) -> None:
        self.epochs, self.out, self.every = epochs, out, every
        self.left = TimeLeft(epochs)
        self._printed = time.monotonic()

    def step(self, report: StepReport) -> None:
        """After some steps."""
        self.left.step(report.epoch, report.step, report.steps)
        now = time.monotonic()
        if now - self._printed < self.every or report.step == report.steps:
            return
        self._printed = now
        self.out(
            f"train: step {report.step}/{report.steps} of epoch {report.epoch + 1}/{self.epochs}, "
            f"loss {report.metrics['loss']:.3f}, {report.metrics['rows_per_s']:.0f} rows/s{self._left()}"
        )

    def ended(self, report: EpochReport) -> None:
        """When an epoch ends, for the time left; its line may have to wait for its checkpoint."""
        self.left.epoch(report.epoch)

    def epoch(self, report: EpochReport) -> None:
        """The line of an epoch."""
        m = report.metrics
        self._printed = time.monotonic()
        few = of_few(m.get("val/identities"))
        val = f", val mAP {m['val/mAP']:.3f}{few}" if "val/mAP" in m else ""
        self.out(
            f"train: epoch {report.epoch}/{self.epochs}, step {m['step']}, loss {m['loss']:.3f}{val}, "
            f"{m['rows_per_s']:.0f} rows/s{self._left()}"
        )

    def _left(self) -> str:
        seconds = self.left.seconds()
        return "" if seconds is None else f", {duration(seconds)} left"
