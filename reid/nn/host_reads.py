"""The numbers that a training step asks its device for, each with the reason. There are no others.

Asking waits until everything queued on the device is done, and leaves it idle until new work arrives. What
else decides shapes comes with the batch (`Batch.labels`); losses and statistics are fetched together, later.
"""

from __future__ import annotations

from collections import Counter
from enum import StrEnum

from torch import Tensor


class HostRead(StrEnum):
    """What is asked for."""

    EXPERT_RUNS = (
        "how many tokens go to each expert: products of runs of rows need their sizes. Not asked where the "
        "device multiplies runs by sizes of its own (bf16 on GPUs from Hopper on), nor for dense or shared "
        "experts"
    )
    SAMPLED_CLASSES = (
        "how many of a rank's classes are in the batch: asked only where the sample may be smaller than that "
        "(few classes, a small train.classifier.sampling)"
    )


counted: Counter[HostRead] = Counter()
"""How often each was asked for in this process."""


def read_numbers(values: Tensor, what: HostRead) -> list[int]:
    """Integers (n,) of a device in main memory, once everything before them is computed.

    >>> import torch
    >>> read_numbers(torch.tensor([3, 1]), HostRead.EXPERT_RUNS)
    [3, 1]
    """
    counted[what] += 1
    return _fetched(values)


def _fetched(values: Tensor) -> list[int]:
    numbers: list[int] = values.tolist()
    return numbers
