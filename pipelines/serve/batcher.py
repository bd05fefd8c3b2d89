"""Requests that wait become one batch; nobody waits for a batch to fill."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from reid.errors import ServiceError

Q = TypeVar("Q")
R = TypeVar("R")


class Batcher(Generic[Q, R]):
    """One thread that works on what waits, up to `size` together, oldest first; for one event loop.

    There is no timer: an idle batcher starts at once, and a busy one finds what came meanwhile, so that
    batches grow with the load.

    Args:
        work: makes one result for each input; called in the thread, never twice at the same time.
        size: largest batch.
        waiting: inputs that may wait; one more is refused.

    >>> async def both() -> list[int]:
    ...     batcher = Batcher(lambda numbers: [2 * n for n in numbers], size=8, waiting=100)
    ...     return await asyncio.gather(batcher.submit(1), batcher.submit(2))
    >>> asyncio.run(both())
    [2, 4]
    """

    def __init__(self, work: Callable[[list[Q]], Sequence[R]], size: int, waiting: int) -> None:
        self.size = size
        self.waiting = waiting
        self._work = work
        self._queue: deque[tuple[Q, asyncio.Future[R]]] = deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batch")
        self._running: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        """Inputs that wait."""
        return len(self._queue)

    async def submit(self, item: Q) -> R:
        """The result of one input. Raises ServiceError when too many wait, and what `work` raised."""
        if len(self._queue) >= self.waiting:
            raise ServiceError("Too many requests wait.")
        result: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._queue.append((item, result))
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        return await result

    async def _run(self) -> None:
        try:
            while batch := self._taken():
                await self._answer(batch)
        finally:
            self._running = None

    def _taken(self) -> list[tuple[Q, asyncio.Future[R]]]:
        """The next batch, without those whose callers went away."""
        batch: list[tuple[Q, asyncio.Future[R]]] = []
        while self._queue and len(batch) < self.size:
            entry = self._queue.popleft()
            if not entry[1].done():
                batch.append(entry)
        return batch

    async def _answer(self, batch: list[tuple[Q, asyncio.Future[R]]]) -> None:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(self._thread, self._work, [item for item, _ in batch])
        except Exception as error:
            for _, result in batch:
                if not result.done():
                    result.set_exception(error)
            return
        for (_, result), answer in zip(batch, found, strict=True):
            if not result.done():
                result.set_result(answer)
