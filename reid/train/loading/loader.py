"""Makes batches ahead of the training step: by processes, by threads, or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from types import TracebackType

import torch
from torch import Tensor

from reid.config.sections.training.loader import LoaderConfig
from reid.data.batches.batch import Batch
from reid.data.batches.batch_task import BatchTask
from reid.data.batches.stream import BatchStream
from reid.train.loading.ahead import made_ahead
from reid.train.loading.process import LoaderProcess

_MOST = 16
"""Largest automatic number of processes: beyond it, drawing and reading rows is what takes time."""


def loader_count(config: LoaderConfig, cpus: int) -> int:
    """Number of processes or threads for a training process with `cpus` CPUs.

    >>> [loader_count(LoaderConfig(), cpus) for cpus in (1, 8, 64)], loader_count(LoaderConfig(count=3), 8)
    ([1, 7, 16], 3)
    """
    if config.kind == "none":
        return 0
    return min(_MOST, max(1, cpus - 1)) if config.count == "auto" else config.count


def cpus_here() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class BatchLoader:
    """Batches of a stream, made ahead. Use it in a `with` block: processes live until the block ends.

    They are the stream's own batches, in its order and to the bit, whatever the kind and the count. At most
    count x prefetch batches are held.
    """

    def __init__(
        self, stream: BatchStream, config: LoaderConfig, cpus: int = 1, pinned: bool = False
    ) -> None:
        """`cpus` that `count: auto` may use; `pinned` puts batches into page-locked memory (CUDA)."""
        self.stream, self.config = stream, config
        self.count = loader_count(config, cpus)
        self._pinned = pinned
        self._idle: SimpleQueue[LoaderProcess] = SimpleQueue()
        self._processes: list[LoaderProcess] = []
        self._threads: ThreadPoolExecutor | None = None
        if not self.count:
            return
        self._threads = ThreadPoolExecutor(self.count, thread_name_prefix="batches")
        if config.kind == "processes":
            cache = stream.collator.cache
            each = cache.limit // self.count if cache else 0
            try:
                for i in range(self.count):
                    made = LoaderProcess(stream.collator, each, f"Loader process {i + 1} of {self.count}")
                    self._processes.append(made)
                    self._idle.put(made)
            except BaseException:  # those that began would live on
                self.close()
                raise

    @property
    def pids(self) -> list[int]:
        """Numbers of the loader processes."""
        return [process.pid for process in self._processes]

    def epoch(self, number: int, steps: int, start: int = 0) -> Iterator[Batch]:
        """Batches of steps `start` to `steps` of an epoch.

        Raises what making a batch raises, at its step; ResourceError when a loader process is gone.
        """
        tasks = self.stream.tasks(number, steps, start)
        if self._threads is None:
            return (self._made(task) for task in tasks)
        return made_ahead(tasks, self._threads, self._made, self.count * self.config.prefetch)

    def _made(self, task: BatchTask) -> Batch:
        if not self._processes:
            batch = task.made(self.stream.collator)
            return batch.pinned() if self._pinned else batch
        process = self._idle.get()
        try:
            return process.make(task, self._block)
        finally:
            self._idle.put(process)

    def _block(self, size: int) -> Tensor:
        return torch.empty(size, dtype=torch.uint8, pin_memory=self._pinned)

    def close(self) -> None:
        """End the processes and threads; nothing of them is left when this returns."""
        for process in self._processes:
            process.stop()  # a thread that waits for it gets its end
        if self._threads is not None:
            self._threads.shutdown(wait=True, cancel_futures=True)
        for process in self._processes:
            process.close()
        self._processes.clear()

    def __enter__(self) -> BatchLoader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
