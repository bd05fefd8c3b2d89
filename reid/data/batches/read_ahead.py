"""Reading ahead of need, in order and within a bound."""

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
    """`read` of every group, in order, begun while `limit` is not reached by the sizes of what waits.

    A limit of 0 reads each in line. An error of `read` is raised in its turn. What has begun when the
    iterator is closed is finished and dropped.
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
