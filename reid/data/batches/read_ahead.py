"""Reads ahead, in order and within a memory bound."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")


def read_ahead(
    groups: Sequence[int],
    read: Callable[[int], Item],
    size: Callable[[int], float],
    limit: float,
    threads: int,
) -> Generator[Item, None, None]:
    """Yield `read(group)` for every group in order, reading further groups in threads meanwhile.

    A new read starts while the sizes of the waiting results are below `limit`. A limit of 0 reads each group
    when it is needed. An error of `read` is raised at its group's turn. Closing the iterator finishes running
    reads and drops their results.
    """
    if limit <= 0:
        for group in groups:
            yield read(group)
        return
    waiting: deque[tuple[float, Future[Item]]] = deque()
    begun, held = 0, 0.0
    pool = ThreadPoolExecutor(threads, thread_name_prefix="row-groups")
    try:
        while begun < len(groups) or waiting:
            while begun < len(groups) and (held < limit or not waiting):
                waiting.append((size(groups[begun]), pool.submit(read, groups[begun])))
                held += waiting[-1][0]
                begun += 1
            weight, future = waiting.popleft()
            item = future.result()
            held -= weight
            del future  # it holds the item, too
            yield item
            del item
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
