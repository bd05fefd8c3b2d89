"""What makes a batch: its rows, undecoded, and the seed of its augmentation. Any process can do it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reid.data.batches.batch import Batch
from reid.data.batches.batch_row import BatchRow
from reid.data.batches.collate import Collator


@dataclass(frozen=True)
class BatchTask:
    """One step's batch before its pictures are decoded."""

    rows: list[BatchRow]
    seed: tuple[int, ...]
    """Of the augmentation's generator: it depends on run, epoch, step and rank alone."""

    def made(self, collator: Collator) -> Batch:
        """The batch, the same wherever and whenever it is made. Raises DataError for a bad picture."""
        return collator(self.rows, np.random.default_rng(self.seed))
