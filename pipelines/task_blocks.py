"""Work for Ray Data in bounded parts: any number of tasks, of which the driver and Ray hold some thousand.

Ray Data keeps an object, metadata and statistics of each block that it was given. So a part is run to its end
before the next is begun; processes wait for the last tasks of a part, and pools start again with the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import pyarrow as pa
import ray.data

AT_ONCE = 4096
"""Tasks of a part: at some seconds each, starting a pool of 16 actors is some percent of it."""


def task_blocks(texts: Iterable[str], column: str, at_once: int | None = None) -> Iterator[ray.data.Dataset]:
    """Data sets with a block for each text; texts are taken as parts are begun.

    Args:
        texts: tasks as texts.
        column: the name of their column.
        at_once: tasks of a part; default: AT_ONCE.
    """
    left, schema = iter(texts), pa.schema([(column, pa.string())])
    while tables := [pa.table({column: [text]}, schema) for text in islice(left, at_once or AT_ONCE)]:
        yield ray.data.from_arrow(tables)
