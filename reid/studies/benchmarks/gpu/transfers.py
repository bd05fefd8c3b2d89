"""Batches on their way to a device: pinned against pageable memory, and beside a training step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from reid.data.batches.batch import Batch
from reid.studies.benchmarks.gpu.checks import CannotRun
from reid.studies.benchmarks.timing import BenchmarkRow, compare


def transfer_rows(batch: Batch, repeats: int, device: torch.device) -> Iterator[BenchmarkRow]:
    """GiB a second from ordinary and from pinned memory to `device`."""
    if device.type != "cuda":
        raise CannotRun("pinned memory is of use to a GPU only")
    size = sum(images.nbytes for images in batch.images.values()) / 2**30
    pinned = replace(batch, images={m: images.pin_memory() for m, images in batch.images.items()})

    def moved(held: Batch) -> Callable[[], list[Tensor]]:
        return lambda: [images.to(device, non_blocking=True) for images in held.images.values()]

    found = compare({"pageable": moved(batch), "pinned": moved(pinned)}, repeats, device)
    plain = size / found["pageable"].seconds
    for name, timing in found.items():
        rate = size / timing.seconds
        yield BenchmarkRow(f"batch to device, {name} memory", rate, "GiB/s", plain, rate / plain)
