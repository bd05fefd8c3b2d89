"""Runs a function on the items of an iterator ahead of their use, in order and within a bound."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


def made_ahead(
    items: Iterator[Item], pool: ThreadPoolExecutor, make: Callable[[Item], Made], bound: int
) -> Generator[Made, None, None]:
    """Yield `make(item)` for every item in order; at most `bound` of them are waiting or being made.

    The iterator, too, is advanced in another thread. What it or `make` raises is raised at its turn. Closing
    the generator stops both and waits for what is running.

    >>> with ThreadPoolExecutor(2) as pool:
    ...     list(made_ahead(iter([1, 2, 3]), pool, lambda x: x * x, bound=2))
    [1, 4, 9]
    """
    ready: SimpleQueue[Future[Made] | None] = SimpleQueue()
    room, stopped = threading.Semaphore(bound), threading.Event()

    def draw() -> None:
        try:
            for item in items:
                room.acquire()
                if stopped.is_set():
                    return
                ready.put(pool.submit(make, item))
            ready.put(None)
        except BaseException as error:
            failed: Future[Made] = Future()
            failed.set_exception(error)
            ready.put(failed)
        finally:
            if isinstance(items, Generator):
                items.close()

    drawer = threading.Thread(target=draw, name="rows", daemon=True)
    drawer.start()
    try:
        while (future := ready.get()) is not None:
            made = future.result()
            room.release()
            del future  # it holds the batch, too
            yield made
            del made
    finally:
        stopped.set()
        room.release()
        drawer.join()
        while not ready.empty():
            if (left := ready.get()) is not None and not left.cancel():
                left.exception()
