"""Elastic training: how many workers the cluster has room for now, and when to start again with more.

Ray Train's own elastic policy counts what nodes have, not what is free of it, and below its least number it
waits without an end. Here every attempt has a fixed number of workers, which is chosen before it begins.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import ray.train

from pipelines.placement.resources import fits, look
from pipelines.training.worker import LAST


class MoreRoom(Exception):
    """Ends an attempt at a checkpoint: so many workers could train from there on."""

    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        self.workers = workers

    def __str__(self) -> str:
        return f"room for {self.workers} workers"


class GrowAtCheckpoint(ray.train.UserCallback):
    """Runs in Ray's controller, which a callback's error ends: raises MoreRoom after a checkpoint.

    `counts` are the numbers of workers that may train, `now` of them do, each with `needs`. Between two looks
    at the cluster `every_s` seconds pass.
    """

    def __init__(self, counts: Sequence[int], now: int, needs: Mapping[str, float], every_s: float) -> None:
        self.counts, self.now, self.needs, self.every_s = counts, now, needs, every_s
        self._looked: float | None = None

    def after_report(self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Any) -> None:
        """Called when all workers have reported a checkpoint."""
        now = time.monotonic()
        if self._looked is None:  # the first checkpoint is soon after a start, which costs more than it
            self._looked = now
        if now - self._looked < self.every_s or any(one.get(LAST) for one in metrics):
            return
        self._looked = now
        more = fitting(self.counts, self.now + look().room(self.needs))
        if more > self.now:
            raise MoreRoom(more)


def number_that_fits(counts: Sequence[int], needs: Mapping[str, float], patience_s: float = 10.0) -> int:
    """How many workers may begin now.

    What the last attempt held takes a moment to be free: as long as the nodes could hold more, this looks
    again until `patience_s` seconds have passed.
    """
    deadline = time.monotonic() + patience_s
    while True:
        cluster = look()
        now = fitting(counts, cluster.room(needs))
        most = sum(fits(needs, node) for node in cluster.nodes)
        if now >= fitting(counts, most) or time.monotonic() > deadline:
            return now
        time.sleep(0.5)


def fitting(counts: Sequence[int], room: int) -> int:
    """The largest of the ascending counts that there is room for, or the least of all.

    >>> fitting([1, 2, 4], 3), fitting([2, 4], 1)
    (2, 2)
    """
    return max((count for count in counts if count <= room), default=counts[0])
