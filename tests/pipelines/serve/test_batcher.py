"""Batches grow with the load and wait for nothing; whoever cannot be served is told."""

from __future__ import annotations

import asyncio
import threading

import pytest

from pipelines.serve.batcher import Batcher
from reid.errors import ServiceError


class Worker:
    """Doubles numbers once it may go on; remembers its batches."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.go_on = threading.Event()

    def __call__(self, numbers: list[int]) -> list[int]:
        self.batches.append(numbers)
        assert self.go_on.wait(30)
        return [2 * number for number in numbers]


async def started(worker: Worker, batcher: Batcher[int, int], numbers: range) -> list[asyncio.Task[int]]:
    """The first input is worked on, the others wait."""
    first = asyncio.create_task(batcher.submit(numbers[0]))
    while not worker.batches:
        await asyncio.sleep(0.001)
    rest = [asyncio.create_task(batcher.submit(number)) for number in numbers[1:]]
    await asyncio.sleep(0.01)
    return [first, *rest]


def test_an_idle_batcher_starts_at_once_and_a_busy_one_takes_what_came_meanwhile() -> None:
    async def scene() -> list[int]:
        tasks = await started(worker, Batcher(worker, size=4, waiting=100), range(7))
        worker.go_on.set()
        return await asyncio.gather(*tasks)

    worker = Worker()
    assert asyncio.run(scene()) == [0, 2, 4, 6, 8, 10, 12]
    assert worker.batches == [[0], [1, 2, 3, 4], [5, 6]]


def test_one_input_more_than_may_wait_is_refused() -> None:
    async def scene() -> list[int | BaseException]:
        batcher = Batcher(worker, size=4, waiting=2)
        tasks = await started(worker, batcher, range(4))
        assert len(batcher) == 2
        worker.go_on.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    worker = Worker()
    *answered, refused = asyncio.run(scene())
    assert answered == [0, 2, 4]
    assert isinstance(refused, ServiceError)


def test_who_went_away_is_not_worked_for() -> None:
    async def scene() -> list[int]:
        tasks = await started(worker, Batcher(worker, size=4, waiting=100), range(3))
        tasks[1].cancel()
        await asyncio.sleep(0.01)
        worker.go_on.set()
        return await asyncio.gather(tasks[0], tasks[2])

    worker = Worker()
    assert asyncio.run(scene()) == [0, 4]
    assert worker.batches == [[0], [2]]


def test_a_failure_reaches_everyone_in_the_batch_and_the_next_batch_is_answered() -> None:
    def fails_on_one(numbers: list[int]) -> list[int]:
        if 1 in numbers:
            raise RuntimeError("lost")
        return numbers

    async def scene() -> int:
        batcher = Batcher(fails_on_one, size=8, waiting=8)
        with pytest.raises(RuntimeError, match="lost"):
            await batcher.submit(1)
        return await batcher.submit(2)

    assert asyncio.run(scene()) == 2
