"""Removes conflicting rows from a published set: affected shards are copied without these rows.

The whole shard stays beside its copy, because later builds and donors use it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from reid import storage
from reid.config import fingerprint
from reid.data.shards import schema
from reid.data.shards.manifest import Shard
from reid.data.shards.shard_set import row_order, write_shard
from reid.dataset.duplicates import STAGE, Duplicates, digests_of
from reid.dataset.inventory import listing, read_statistics
from reid.dataset.rows import BuildRow, quarantine_row
from reid.dataset.stages.writing import data_uri, write_statistics

_COPIED = ("seconds", "worked", "captions", "source_key", "made", "donor", "kept")


@dataclass(frozen=True)
class ConflictingRow:
    """One of several rows with the same picture and different identities."""

    shard: int
    row: int
    sample_id: str
    identity: tuple[str, int]


def conflicting_rows(
    root: str, shards: Sequence[Shard], found: Duplicates, most: int | None = None
) -> list[list[ConflictingRow]]:
    """The rows of every picture that has several identities, for the first `most` such pictures.

    Reads the sample ids of the affected shards, one small column each.
    """
    ids: dict[int, list[str]] = {}
    owners: dict[int, list[tuple[str, int]]] = {}
    conflicting = []
    for places in found.conflicts[:most]:
        group = []
        for number, row in places:
            if number not in ids:
                ids[number] = _sample_ids(root, shards[number])
                groups = shards[number].row_groups
                owners[number] = [(d, p) for g in groups for d, p, rows in g.identities for _ in range(rows)]
            group.append(ConflictingRow(number, row, ids[number][row], owners[number][row]))
        conflicting.append(group)
    return conflicting


def without_conflicts(
    root: str, shards: Sequence[Shard], groups: Sequence[Sequence[ConflictingRow]], rows_per_group: int
) -> list[Shard]:
    """The shards without the conflicting rows: affected ones are copied, unless the copy exists."""
    reasons: dict[int, dict[int, str]] = {}
    names: dict[int, list[str]] = {}
    for group in groups:
        for claim in group:
            reasons.setdefault(claim.shard, {})[claim.row] = _reason(claim, group)
            names.setdefault(claim.shard, []).append(claim.sample_id)
    keys = {number: _copy_key(shards[number], own) for number, own in names.items()}
    there = read_statistics(root, listing(root), keys.values())
    served = list(shards)
    for number, key in keys.items():
        copy = there.get(key)
        served[number] = copy or _copy(root, shards[number], key, reasons[number], rows_per_group)
    return served


def _reason(claim: ConflictingRow, group: Sequence[ConflictingRow]) -> str:
    other = next(c for c in group if c.identity != claim.identity)
    return (
        f"the same picture is sample {other.sample_id!r} of identity {other.identity[1]}; keep the right "
        "label and remove the other row"
    )


def _sample_ids(root: str, shard: Shard) -> list[str]:
    uri = data_uri(root, shard.file)
    fs, path = storage.resolve(uri)

    def read() -> list[str]:
        with fs.open_input_file(path) as stream:
            ids: list[str] = pq.ParquetFile(stream).read(columns=["sample_id"])["sample_id"].to_pylist()
        return ids

    return storage.retried(uri, read)


def _copy_key(shard: Shard, names: Sequence[str]) -> str:
    source, _, made = shard.key.partition("-")
    return f"{source}-{fingerprint(made, STAGE, sorted(names))}"


def _copy(root: str, shard: Shard, key: str, reasons: Mapping[int, str], rows_per_group: int) -> Shard:
    data = storage.read_bytes(data_uri(root, shard.file))
    samples = schema.decode(pq.ParquetFile(pa.BufferReader(data)).read())
    good = [sample for i, sample in enumerate(samples) if i not in reasons]
    aside = [quarantine_row(BuildRow(samples[i], reason, STAGE)) for i, reason in sorted(reasons.items())]
    uri = data_uri(root, f"{key}.parquet")
    written = write_shard(good, uri, key, rows_per_group, [*shard.quarantined, *aside])
    copied = {name: getattr(shard, name) for name in _COPIED}
    digests = digests_of(sorted(good, key=row_order))
    copy = written.model_copy(update={**copied, "base": shard.key, "digests": digests})
    write_statistics(root, copy)
    return copy
