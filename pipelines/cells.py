"""A whole table in one cell of a one-row table, so that Ray Data neither cuts it nor merges it with others.

Ray Data wants a number of rows a batch from every stage that has GPUs, and then cuts and mixes tables to get
batches of it. With a shard in one cell that number is 1 and a batch is a shard, on CPUs as on GPUs. The other
way, `Dataset.map_batches_internal`, skips that check but is no public interface of Ray's; this one costs a
copy of the shard, which is little beside encoding its pictures.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

CELL = pa.schema([("table", pa.large_binary())])


def in_cell(table: pa.Table) -> pa.Table:
    """One row of CELL: the table as an Arrow stream."""
    stream = pa.BufferOutputStream()
    with pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
    content = stream.getvalue()
    ends = pa.py_buffer(np.array([0, content.size], np.int64))
    # From buffers: an array made of Python bytes would be a second copy.
    cell = pa.LargeBinaryArray.from_buffers(pa.large_binary(), 1, [None, ends, content])
    return pa.table([cell], schema=CELL)


def of_cell(batch: pa.Table) -> pa.Table:
    """The inverse of `in_cell`, without a copy. Raises ValueError unless it is one row."""
    if batch.num_rows != 1:
        raise ValueError(f"{batch.num_rows} rows where one cell was expected")
    column = batch.column("table")
    cell = next(chunk for chunk in column.chunks if len(chunk))
    _, ends, content = cell.buffers()  # a scalar of it would be a copy
    start, end = np.frombuffer(ends, np.int64)[cell.offset : cell.offset + 2].tolist()
    table: pa.Table = pa.ipc.open_stream(content.slice(start, end - start)).read_all()
    return table
