"""What training tells its caller: every few steps, after every epoch, and when a checkpoint is due."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from reid.train.setup import TrainingParts


class Save(Protocol):
    """Writes this rank's files of a checkpoint."""

    @property
    def on_every_rank(self) -> bool:
        """Whether every rank has files, since parameters are split over ranks."""

    def __call__(self, folder: Path) -> bool:
        """Write them into a folder now; whether there were any."""

    def copied(self) -> Callable[[Path], bool]:
        """Copy the state now; what is returned writes that copy, at any later time and in any thread."""


@dataclass(frozen=True)
class StepReport:
    """Means over the optimiser steps since the last report.

    Args:
        epoch: whole epochs done.
        step, steps: steps done of this epoch, and its length.
        total: steps in all.
        metrics: `loss`, `loss/<term>`, `stat/<name>`, `lr`, `lr/<group>`, `grad_norm`, `rows_per_s`,
            `data_wait` (share of the time, 0 to 1), `step_seconds`, on a GPU also `device_mib`.

    >>> StepReport(epoch=2, step=10, steps=50, total=110, metrics={"loss": 1.5}).metrics["loss"]
    1.5
    """

    epoch: int
    step: int
    steps: int
    total: int
    metrics: dict[str, float]


@dataclass(frozen=True)
class EpochReport:
    """The means of an epoch's steps, and of its validation if there was one (`val/...`).

    >>> EpochReport(epoch=3, total=150, metrics={"loss": 1.5, "val/mAP": 0.4}).epoch
    3
    """

    epoch: int
    total: int
    metrics: dict[str, Any]


@dataclass(frozen=True)
class CheckpointPlace:
    """Where in the training a checkpoint is: `step` steps after `epoch` whole epochs, `total` in all.

    Args:
        metrics: of the last epoch that ended; those of its validation begin with `val/`.
        last: whether the training ends here.

    >>> CheckpointPlace(epoch=1, step=20, total=70, metrics={}, last=False).name
    'epoch-0001-step-000020'
    """

    epoch: int
    step: int
    total: int
    metrics: dict[str, Any]
    last: bool

    @property
    def name(self) -> str:
        """A name that sorts in the order of training."""
        return f"epoch-{self.epoch:04d}-step-{self.step:06d}"


class TrainingObserver:
    """Is told of a training's progress; a base whose methods do nothing.

    >>> class Losses(TrainingObserver):
    ...     def epoch(self, report: EpochReport) -> None:
    ...         print(report.epoch, report.metrics["loss"])
    >>> Losses().epoch(EpochReport(1, 50, {"loss": 2.5}))
    1 2.5
    """

    def begin(self, parts: TrainingParts) -> None:
        """Before the first step, and after going back to a checkpoint, on every rank.

        `parts.progress` says where it goes on.
        """

    def step(self, report: StepReport) -> None:
        """Every `train.log_every` steps and at the end of an epoch, on rank 0."""

    def epoch(self, report: EpochReport) -> None:
        """After an epoch, its validation and its checkpoint, on rank 0."""

    def notice(self, line: str) -> None:
        """A sentence for a person about something unusual, on rank 0."""

    def checkpoint(self, at: CheckpointPlace, save: Save) -> None:
        """When a checkpoint is due, at the same step on every rank.

        `save(folder)` writes this rank's files, and returns whether there were any.
        """


class Observers(TrainingObserver):
    """Tells several observers, in their order.

    >>> class Steps(TrainingObserver):
    ...     def step(self, report: StepReport) -> None:
    ...         print(report.total)
    >>> Observers(Steps(), Steps()).step(StepReport(epoch=0, step=1, steps=2, total=1, metrics={}))
    1
    1
    """

    def __init__(self, *observers: TrainingObserver) -> None:
        self.observers = observers

    def begin(self, parts: TrainingParts) -> None:
        for observer in self.observers:
            observer.begin(parts)

    def step(self, report: StepReport) -> None:
        for observer in self.observers:
            observer.step(report)

    def epoch(self, report: EpochReport) -> None:
        for observer in self.observers:
            observer.epoch(report)

    def notice(self, line: str) -> None:
        for observer in self.observers:
            observer.notice(line)

    def checkpoint(self, at: CheckpointPlace, save: Save) -> None:
        for observer in self.observers:
            observer.checkpoint(at, save)
