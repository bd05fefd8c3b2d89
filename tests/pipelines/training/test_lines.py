"""Lines of a training: an epoch is told when it is kept, and its time counts when it ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pipelines.training.lines import TrainLines
from pipelines.training.observer import KeepingObserver
from reid.train.reports import EpochReport, StepReport
from reid.train.steps.time_left import TimeLeft


class SlowWriter:
    """What writes checkpoints, to a store that takes its time."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []

    def when_written(self, do: Callable[[], None]) -> None:
        self.waiting.append(do)


def test_a_checkpoint_that_is_written_late_does_not_set_the_time_left_back() -> None:
    now = 0.0
    said: list[str] = []
    lines, kept = TrainLines(3, said.append), SlowWriter()
    lines.left = TimeLeft(3, clock=lambda: now)
    writer: Any = kept
    observer = KeepingObserver(writer, lines)

    def step(epoch: int, step: int, after: float) -> None:
        nonlocal now
        now += after
        observer.step(StepReport(epoch, step, 10, 0, {"loss": 1.0, "rows_per_s": 8.0}))

    step(0, 5, 5.0)
    step(0, 10, 5.0)
    observer.epoch(EpochReport(1, 10, {"loss": 1.0, "rows_per_s": 8.0, "step": 10}))
    step(1, 5, 5.0)
    assert said == []
    kept.waiting.pop()()
    assert said == ["train: epoch 1/3, step 10, loss 1.000, 8 rows/s, 15 s left"]
    step(1, 10, 5.0)
    assert lines.left.seconds() == 10.0
