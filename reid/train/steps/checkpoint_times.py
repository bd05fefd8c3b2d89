"""When a checkpoint is due within an epoch and after it, at the same step on every rank."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
import torch.distributed as dist

from reid.config.sections.training.checkpoint import CheckpointConfig
from reid.nn.distributed import world_size


class CheckpointTimes:
    """Every so many epochs, steps or minutes, whichever comes first; each counts by itself.

    Steps are counted from the beginning of the training, minutes from the last checkpoint of this process. Of
    several ranks the first one's clock decides: `due_now` is a collective call where minutes are set.

    >>> times = CheckpointTimes(CheckpointConfig(every_steps=100), torch.device("cpu"))
    >>> times.due_at(100), times.due_at(101), times.due_now()
    (True, False, False)
    """

    def __init__(
        self,
        settings: CheckpointConfig,
        device: torch.device,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings, self.device, self.clock = settings, device, clock
        self._saved = clock()

    def due_at(self, total: int) -> bool:
        """After so many steps in all."""
        every = self.settings.every_steps
        return every is not None and total % every == 0

    def due_now(self) -> bool:
        """By the minutes since the last one, which the first rank knows."""
        every = self.settings.every_minutes
        if every is None:
            return False
        due = self.clock() - self._saved >= 60 * every
        if world_size() == 1:
            return due
        answer = torch.tensor([due], dtype=torch.uint8, device=self.device)
        dist.broadcast(answer, src=0)
        return bool(answer.item())

    def due_after(self, epoch: int, total: int, last: bool) -> bool:
        """After an epoch of this number (from 1), which ends with the step `total`."""
        now = self.due_now()
        return last or now or self.due_at(total) or epoch % self.settings.every_epochs == 0

    def saved(self) -> None:
        """One was saved now."""
        self._saved = self.clock()
