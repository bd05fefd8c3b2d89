"""Takes batches to the device one ahead of the computation.

On CUDA a copy from page-locked memory runs on a stream of its own, beside the kernels of the step before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Protocol

import torch

from reid.data.batches.batch import Batch


class CopyStream(Protocol):
    """A queue of copies beside the queue of computations."""

    def entered(self) -> AbstractContextManager[Any]:
        """Within it, copies go to this queue."""

    def handed_over(self, batch: Batch) -> None:
        """Let computations wait for the batch's copies, and keep its memory until they are done with it."""


class CudaCopyStream:
    """A CUDA stream for copies to one device."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.side = device, torch.cuda.Stream(device)

    def entered(self) -> AbstractContextManager[Any]:
        """See CopyStream."""
        return torch.cuda.stream(self.side)

    def handed_over(self, batch: Batch) -> None:
        """See CopyStream."""
        computing = torch.cuda.current_stream(self.device)
        computing.wait_stream(self.side)
        for tensor in batch.tensors():
            tensor.record_stream(computing)  # else its memory could be reused before the step is done


def on_device(
    batches: Iterable[Batch], device: torch.device, copies: CopyStream | None = None
) -> Iterator[Batch]:
    """The batches on `device`, in order. `copies` defaults to a stream of its own on CUDA.

    The next batch is asked for when the step of this one has been issued: its copy runs beside that step,
    and a slow loader does not keep back a batch that is there.

    >>> list(on_device([], torch.device("cpu")))
    []
    """
    if copies is None and device.type == "cuda":
        copies = CudaCopyStream(device)
    if copies is None:
        for batch in batches:
            yield batch.to(device)
        return
    for batch in batches:
        with copies.entered():
            moved = batch.to(device)
        copies.handed_over(moved)
        yield moved
