"""What is to be embedded, as an Arrow table: one row a vector, with its parts and where they lie.

A row takes about a hundred bytes instead of a few Python objects, and travels to actors as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reid.data.batches.auxiliary_inputs import attach_auxiliary
from reid.data.batches.batch_row import BatchRow
from reid.data.batches.sample_rows import sample_part
from reid.data.shards.group_samples import GroupSamples
from reid.data.shards.schema import Sample
from reid.evaluate.features.table import DIGITS, Keys
from reid.evaluate.protocols.items import Parts, QueryPart, Side
from reid.modality import Modality, canonical

PART = pa.struct(
    [
        ("modality", pa.string()),
        ("sample", pa.string()),
        ("caption", pa.int32()),  # null: the first one, or no text
        ("group", pa.int32()),  # number of the sample's row group
    ]
)
WORK = pa.schema(
    [
        ("key", pa.binary(DIGITS // 2)),
        ("side", pa.string()),
        ("group", pa.int32()),  # of its first part: who reads that group embeds it
        ("parts", pa.list_(PART)),
    ]
)
CHUNK = 65536
"""Items that are held as Python objects while the table is made, at least."""
PASSES = 16
"""Chunks that a set's worth of items makes at most: each looks its samples up in an index of all ids."""


@dataclass(frozen=True)
class EmbeddingTask:
    """One vector to compute."""

    key: str
    side: Side
    parts: Parts


def work_table(items: Iterable[EmbeddingTask], samples: GroupSamples) -> pa.Table:
    """A table of WORK in the order of the items.

    Args:
        items: distinct vectors to compute; they are taken one by one.
        samples: where their parts lie.

    Raises DataError for a part whose sample is not there.
    """
    stream = iter(items)
    tables = []
    size = max(CHUNK, samples.size // PASSES)
    while chunk := list(islice(stream, size)):
        tables.append(_table(chunk, samples))
    return pa.concat_tables(tables) if tables else WORK.empty_table()


def _table(items: list[EmbeddingTask], samples: GroupSamples) -> pa.Table:
    listed = [list(item.parts.items()) for item in items]
    ends = np.cumsum([0, *map(len, listed)])
    flat = list(chain.from_iterable(listed))
    names = pa.array([part.sample_id for _, part in flat], pa.string())
    groups = pa.array(samples.groups_of(names), pa.int32())
    parts = pa.StructArray.from_arrays(
        [
            pa.array([m.value for m, _ in flat], pa.string()),
            names,
            pa.array([part.caption_index for _, part in flat], pa.int32()),
            groups,
        ],
        fields=list(PART),
    )
    return pa.table(
        [
            pa.array([bytes.fromhex(item.key) for item in items], WORK.field("key").type),
            pa.array([item.side for item in items], pa.string()),
            groups.take(pa.array(ends[:-1])),
            pa.ListArray.from_arrays(pa.array(ends, pa.int32()), parts),
        ],
        schema=WORK,
    )


def work_keys(work: pa.Table) -> Keys:
    """The keys of a table of WORK: (n, 2) uint64.

    >>> work_keys(WORK.empty_table()).shape
    (0, 2)
    """
    column = work["key"].combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    packed = np.frombuffer(column.buffers()[1] or b"", ">u8").reshape(-1, 2)
    return packed[column.offset : column.offset + len(column)].astype(np.uint64)


def tasks_of(work: pa.Table, rows: int) -> Iterator[pa.Table]:
    """Slices of a table by whole row groups, in the order of the groups: each of about `rows` rows."""
    ordered = work.take(pc.sort_indices(work, [("group", "ascending")]))  # stable
    group = ordered["group"].to_numpy()
    first = np.flatnonzero(np.diff(group, prepend=-1))  # where a group begins
    start = 0
    for begin in [*first[1:].tolist(), len(group)]:
        if begin - start >= rows or begin == len(group):
            if begin > start:
                yield ordered.slice(start, begin - start)
            start = begin


def parts_of(cell: list[dict[str, Any]]) -> dict[Modality, tuple[QueryPart, int]]:
    """The parts of one row of WORK, each with the number of its row group."""
    return {Modality(p["modality"]): (QueryPart(p["sample"], p["caption"]), p["group"]) for p in cell}


def row_of(parts: Parts, samples: Callable[[Modality], Sample] | Mapping[str, Sample]) -> BatchRow:
    """A batch row with the contents of a vector's parts, and the auxiliary inputs of its first part.

    Args:
        parts: modality -> part.
        samples: the sample of each modality's part, as a function, or samples by id.
    """
    found = {m: samples(m) if callable(samples) else samples[p.sample_id] for m, p in parts.items()}
    row = BatchRow({m: sample_part(found[m], m, p.caption_index or 0) for m, p in parts.items()})
    return attach_auxiliary(row, found[canonical(parts)[0]])
