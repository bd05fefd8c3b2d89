"""The first stage: a shard's records become rows, read from raw files or copied from an earlier shard."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq

from reid import storage
from reid.data.readers.base import Reader, Record
from reid.data.shards import schema
from reid.data.shards.manifest import MadeBy
from reid.data.shards.schema import Sample
from reid.dataset.planning.shard_task import Donor, ShardTask
from reid.dataset.rows import READ, BuildRow, ShardRows, StageTimes, files_of
from reid.errors import AnyReIDError, DataError, StorageError
from reid.modality import Target


def read_shard(task: ShardTask, reader: Reader, max_pixels: int) -> ShardRows:
    """All rows of a shard, rejected ones with their reason. Raises StorageError when the storage fails.

    If the donor is missing or damaged, all rows are read from the raw files.
    """
    clock, plan, donor = StageTimes(), task.plan, task.donor
    records = plan.records
    held: dict[str, Sample] | None = None
    if donor is not None:
        with clock.stage("take", len(records)):
            held = _held(donor)
    if donor is None or held is None:
        with clock.stage(READ, len(records)):
            rows = [read_record(record, reader, max_pixels) for record in records]
        for row in rows:
            clock.note(row.sample)
        return ShardRows(plan.source_key, plan.key, rows, clock)
    aside = {row["sample_id"]: row for row in donor.shard.quarantined if _stays(row["stage"], donor)}
    rows = []
    clock.notes.update(donor.shard.notes)
    for record in records:
        name = record.labels.sample_id
        if record.problem is not None:
            rows.append(read_record(record, reader, max_pixels))  # opens nothing
        elif name in held:
            rows.append(BuildRow(held[name], files=files_of(record), kept=frozenset(donor.kept)))
        elif name in aside:
            rejected = aside[name]
            row = BuildRow(Sample(record.labels, {}), files=tuple(rejected["files"]))
            rows.append(row.refused(rejected["stage"], rejected["reason"]))
        else:
            with clock.stage(READ, 1):
                rows.append(read_record(record, reader, max_pixels))
            clock.note(rows[-1].sample)
    return ShardRows(plan.source_key, plan.key, rows, clock, donor.uri, donor.kept)


def read_record(record: Record, reader: Reader, max_pixels: int) -> BuildRow:
    """One row from its raw files; it is rejected if a file cannot be used."""
    row = BuildRow(Sample(record.labels, {}), files=files_of(record))
    if record.problem is not None:
        return row.refused(READ, record.problem)
    try:
        sample = reader.load(record, max_pixels)
    except AnyReIDError as problem:
        if isinstance(problem, StorageError) and not _file_is_bad(problem):
            raise
        return row.refused(READ, str(problem))
    row = replace(row, sample=sample)
    problems = schema.validate(sample)
    return row.refused(READ, "; ".join(problems)) if problems else row


def _file_is_bad(problem: StorageError) -> bool:
    """Whether the file is missing or unreadable; otherwise the storage failed and the row may be good."""
    return isinstance(problem.__cause__, FileNotFoundError | PermissionError | IsADirectoryError)


def _stays(stage: str, donor: Donor) -> bool:
    """Whether what set a row aside is as it was: reading is, by the source key."""
    return stage == READ or stage in {t.value for t in donor.kept}


def _held(donor: Donor) -> dict[str, Sample] | None:
    """The donor's samples without the targets to make again; None when its file has changed."""
    try:
        data = storage.read_bytes(donor.uri)
        if storage.sha256(data) != donor.shard.sha256:
            return None
        samples = schema.decode(pq.ParquetFile(pa.BufferReader(data)).read())
    except (StorageError, DataError, OSError, pa.ArrowInvalid):
        return None
    stale = {Target(t): made for t, made in donor.shard.made.items() if Target(t) not in donor.kept}
    for target, made in stale.items():
        samples = [_without(sample, target, made) for sample in samples]
    return {s.labels.sample_id: s for s in samples}


def _without(sample: Sample, target: Target, made: MadeBy) -> Sample:
    """A sample without what this generator made; captured parts stay."""
    modality = target.modality
    if target is Target.MASK:
        mask = sample.mask
        ours = mask is not None and mask.origin == "generated" and mask.generator == made.generator
        return replace(sample, mask=None) if ours else sample
    if target is Target.TEXT:
        captions = tuple(
            c for c in sample.captions if c.origin != "generated" or c.generator != made.generator
        )
        if len(captions) == len(sample.captions):
            return sample
        attributes = tuple(a for a in sample.labels.attributes if a.source != made.generator)
        return replace(sample, captions=captions, labels=replace(sample.labels, attributes=attributes))
    assert modality is not None, "only the mask is none"
    image = sample.images.get(modality)
    if image is None or image.origin != "generated" or image.generator != made.generator:
        return sample
    return replace(sample, images={m: i for m, i in sample.images.items() if m is not modality})
