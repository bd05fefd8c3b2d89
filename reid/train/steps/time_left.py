"""The time that a training still takes, with its validations and checkpoints as they come."""

from __future__ import annotations

import time
from collections.abc import Callable

RECENT = 0.2
"""Weight of the newest steps in the time of a step; older ones fade."""


class TimeLeft:
    """An estimate from the steps of this process: step time, and what an epoch takes beside its steps.

    Until the first epoch of this process has ended, its validation and checkpoint are not known, and steps
    alone count. The first step warms up, reads ahead and compiles: it does not count.

    >>> now = 0.0
    >>> left = TimeLeft(epochs=4, clock=lambda: now)
    >>> now = 20.0; left.step(epoch=0, step=1, steps=10)  # a slow first step
    >>> now = 29.0; left.step(epoch=0, step=10, steps=10)
    >>> now = 34.0; left.epoch(1)  # five seconds of validation
    >>> left.seconds()  # of three epochs
    45.0
    """

    def __init__(self, epochs: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.epochs, self.clock = epochs, clock
        self._at: tuple[float, int, int] | None = None  # when, epoch, step
        self._step_s: float | None = None
        self._beside: list[float] = []
        self._place = (0, 0, 1)

    def step(self, epoch: int, step: int, steps: int) -> None:
        """After `step` of the `steps` steps of the epoch after `epoch` whole ones."""
        now = self.clock()
        if self._at is not None and self._at[1] == epoch and step > self._at[2]:
            seconds = (now - self._at[0]) / (step - self._at[2])
            share = 1.0 if self._step_s is None else RECENT
            self._step_s = share * seconds + (1 - share) * (self._step_s or 0.0)
        self._at, self._place = (now, epoch, step), (epoch, step, steps)

    def epoch(self, done: int) -> None:
        """After an epoch, its validation and its checkpoint; `done`: whole epochs."""
        now = self.clock()
        if self._at is not None and self._at[1] == done - 1:
            self._beside.append(now - self._at[0])
        self._at, self._place = (now, done, 0), (done, 0, self._place[2])

    def seconds(self) -> float | None:
        """The estimate; None before two reports."""
        if self._step_s is None:
            return None
        epoch, step, steps = self._place
        left = max(0, self.epochs - epoch)
        beside = sum(self._beside) / len(self._beside) if self._beside else 0.0
        return max(0.0, (left * steps - step) * self._step_s + left * beside)
