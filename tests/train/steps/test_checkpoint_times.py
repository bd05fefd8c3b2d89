"""Checkpoints are due by epochs, steps and minutes."""

from __future__ import annotations

import torch

from reid.config.sections.training.checkpoint import CheckpointConfig
from reid.train.steps.checkpoint_times import CheckpointTimes

CPU = torch.device("cpu")


def test_minutes_are_counted_from_the_last_one() -> None:
    now = 0.0
    times = CheckpointTimes(CheckpointConfig(every_minutes=2), CPU, clock=lambda: now)
    now = 119.0
    assert not times.due_now()
    now = 120.0
    assert times.due_now() and times.due_now()
    times.saved()
    assert not times.due_now()
    now = 239.0
    assert not times.due_now()


def test_without_minutes_the_clock_is_not_asked() -> None:
    assert not CheckpointTimes(CheckpointConfig(), CPU, clock=lambda: 1e9).due_now()


def test_after_an_epoch_each_of_the_three_counts_and_the_end_does() -> None:
    times = CheckpointTimes(CheckpointConfig(every_epochs=3, every_steps=8), CPU)
    assert [times.due_after(e, 4 * e, last=False) for e in range(1, 7)] == [0, 1, 1, 1, 0, 1]
    assert times.due_after(1, 4, last=True)
