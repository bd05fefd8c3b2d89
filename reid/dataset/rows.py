"""A row during a build, and a shard's rows as one Arrow table between two processes."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from reid.data.readers.base import Record
from reid.data.shards import schema
from reid.data.shards.manifest import NotedPictures
from reid.data.shards.schema import Sample
from reid.modality import Target

READ = "read"
WRITE = "write"


@dataclass(frozen=True)
class BuildRow:
    """A sample between stages. `error` says why it is rejected, and `stage` by which stage."""

    sample: Sample
    error: str | None = None
    stage: str | None = None
    files: tuple[str, ...] = ()
    kept: frozenset[Target] = frozenset()
    """Targets that were taken from an earlier build and are not made again."""

    def refused(self, stage: str, reason: str) -> BuildRow:
        """The same row, rejected."""
        return replace(self, error=reason, stage=stage)


@dataclass
class StageTimes:
    """Seconds of one worker and rows worked on, by stage."""

    seconds: dict[str, float] = field(default_factory=dict)
    worked: dict[str, int] = field(default_factory=dict)
    captions: Counter[str] = field(default_factory=Counter)
    """What became of generated captions, see `reid.dataset.captions.quality.CaptionTally.counts`."""

    notes: dict[str, NotedPictures] = field(default_factory=dict)
    """What should be told of the pictures that were read, by kind."""

    def note(self, sample: Sample) -> None:
        """Count what should be told of a sample's pictures."""
        for modality, image in sample.images.items():
            for note in image.notes:
                where = f"{sample.labels.sample_id}, {modality.value}: {note.text}"
                known = self.notes.get(note.kind)
                first = where if known is None else known.first
                self.notes[note.kind] = NotedPictures(count=1 + (known.count if known else 0), first=first)

    @contextmanager
    def stage(self, name: str, rows: int) -> Iterator[None]:
        """Count the time and the rows of the enclosed block."""
        began = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began
        self.worked[name] = self.worked.get(name, 0) + rows


@dataclass(frozen=True)
class ShardRows:
    """A shard between stages: its rows and further entries of its statistics."""

    source_key: str
    key: str
    rows: list[BuildRow]
    clock: StageTimes = field(default_factory=StageTimes)
    donor: str | None = None
    kept: tuple[Target, ...] = ()


_WORK = [
    pa.field("error", pa.string()),
    pa.field("stage", pa.string()),
    pa.field("files", pa.list_(pa.string())),
    pa.field("kept", pa.list_(pa.string())),
    pa.field("shard", pa.string()),
]
TRANSIT = pa.schema([*schema.SCHEMA, *_WORK])
"""The stored columns and those of the work; `shard` is set in the first row of a shard."""
_CHUNK = 2**30
"""Bytes of pictures in a piece of a column, which can hold 2**31."""


def pack(work: Sequence[ShardRows]) -> pa.Table:
    """Shards to an Arrow table of TRANSIT."""
    return pa.concat_tables([piece for one in work for piece in _pieces(one)])


def unpack(table: pa.Table) -> list[ShardRows]:
    """The inverse of `pack`."""
    found: list[ShardRows] = []
    columns = (table[field.name].to_pylist() for field in _WORK)
    for sample, error, stage, files, kept, shard in zip(schema.decode(table), *columns, strict=True):
        if shard is not None:
            found.append(_work(shard))
        targets = frozenset(Target(t) for t in kept)
        found[-1].rows.append(BuildRow(sample, error, stage, tuple(files), targets))
    return found


def _pieces(work: ShardRows) -> Iterator[pa.Table]:
    start = size = 0
    for i, row in enumerate(work.rows):
        own = sum(len(image.image) for image in row.sample.images.values())
        if i > start and size + own > _CHUNK:
            yield _table(work.rows[start:i], _head(work) if start == 0 else None)
            start, size = i, 0
        size += own
    yield _table(work.rows[start:], _head(work) if start == 0 else None)


def _table(rows: Sequence[BuildRow], head: str | None) -> pa.Table:
    table = schema.encode([row.sample for row in rows])
    extra: list[list[Any]] = [
        [row.error for row in rows],
        [row.stage for row in rows],
        [row.files for row in rows],
        [list(row.kept) for row in rows],
        [head, *([None] * (len(rows) - 1))],
    ]
    for column, values in zip(_WORK, extra, strict=True):
        table = table.append_column(column, pa.array(values, column.type))
    return table


def quarantine_row(row: BuildRow) -> dict[str, Any]:
    """The entry of a rejected row in the quarantine table."""
    labels = row.sample.labels
    return {
        "sample_id": labels.sample_id,
        "dataset": labels.dataset,
        "split": labels.split,
        "pid": labels.pid,
        "stage": row.stage,
        "reason": row.error,
        "files": list(row.files),
    }


def files_of(record: Record) -> tuple[str, ...]:
    """The files that a record is read from; one strip may hold every modality."""
    return tuple(dict.fromkeys([*record.images.values(), *([record.mask] if record.mask else [])]))


def _head(work: ShardRows) -> str:
    values = {
        "source_key": work.source_key,
        "key": work.key,
        "donor": work.donor,
        "kept": list(work.kept),
        "seconds": work.clock.seconds,
        "worked": work.clock.worked,
        "captions": work.clock.captions,
        "notes": {kind: noted.model_dump() for kind, noted in work.clock.notes.items()},
    }
    return json.dumps(values)


def _work(head: str) -> ShardRows:
    tree = json.loads(head)
    notes = {kind: NotedPictures(**noted) for kind, noted in tree["notes"].items()}
    clock = StageTimes(tree["seconds"], tree["worked"], Counter(tree["captions"]), notes)
    kept = tuple(Target(t) for t in tree["kept"])
    return ShardRows(tree["source_key"], tree["key"], [], clock, tree["donor"], kept)
