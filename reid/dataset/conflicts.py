"""Removes conflicting rows from a published set: affected shards are copied without these rows.

The whole shard stays beside its copy, because later builds and donors use it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from reid import storage
from reid.config import fingerprint
from reid.data.shards import schema
from reid.data.shards.identity_list import IdentityList
from reid.data.shards.manifest import Shard
from reid.data.shards.shard_set import row_order, write_shard
from reid.data.shards.shard_table import ShardTable
from reid.dataset.duplicates import STAGE, Duplicates, digests_of
from reid.dataset.inventory import listing, read_statistics
from reid.dataset.rows import BuildRow, quarantine_row
from reid.dataset.stages.writing import data_uri, write_statistics
from reid.errors import DataError

_COPIED = ("seconds", "worked", "captions", "source_key", "made", "donor", "kept")


@dataclass(frozen=True)
class ConflictingRow:
    """One of several rows with the same picture and different identities."""

    shard: int
    row: int
    sample_id: str
    identity: tuple[str, int]


def conflicting_rows(
    root: str, shards: ShardTable, found: Duplicates, most: int | None = None
) -> list[list[ConflictingRow]]:
    """The rows of every picture that has several identities, for the first `most` such pictures.

    Reads the sample ids of the affected shards, one small column each.
    """
    ids: dict[int, list[str]] = {}
    owners: dict[int, IdentityList] = {}
    conflicting = []
    for places in found.conflicts[:most]:
        group = []
        for number, row in places:
            if number not in ids:
                ids[number] = _sample_ids(root, shards.column("file")[number])
                first = int(shards.numbers("first")[number])
                own = shards.identities.part(first, first + int(shards.numbers("entries")[number]))
                owners[number] = own.identities().take(np.repeat(np.arange(len(own)), own.rows))
            group.append(ConflictingRow(number, row, ids[number][row], owners[number][row]))
        conflicting.append(group)
    return conflicting


def conflict_copies(
    root: str, shards: ShardTable, groups: Sequence[Sequence[ConflictingRow]], rows_per_group: int
) -> dict[int, Shard]:
    """Copies without the conflicting rows of the shards that have some, by position; made unless they exist.

    Raises DataError when the statistics of one are gone.
    """
    reasons: dict[int, dict[int, str]] = {}
    names: dict[int, list[str]] = {}
    for group in groups:
        for claim in group:
            reasons.setdefault(claim.shard, {})[claim.row] = _reason(claim, group)
            names.setdefault(claim.shard, []).append(claim.sample_id)
    keys = shards.column("key") if names else []
    copied = {number: _copy_key(keys[number], own) for number, own in names.items()}
    there = read_statistics(root, listing(root), [*copied.values(), *(keys[number] for number in names)])
    served: dict[int, Shard] = {}
    for number, key in copied.items():
        if keys[number] not in there:
            raise DataError(f"{data_uri(root, keys[number])}.json is gone; run the same build again.")
        copy = there.get(key)
        served[number] = copy or _copy(root, there[keys[number]], key, reasons[number], rows_per_group)
    return served


def _reason(claim: ConflictingRow, group: Sequence[ConflictingRow]) -> str:
    other = next(c for c in group if c.identity != claim.identity)
    return (
        f"the same picture is sample {other.sample_id!r} of identity {other.identity[1]}; keep the right "
        "label and remove the other row"
    )


def _sample_ids(root: str, file: str) -> list[str]:
    uri = data_uri(root, file)
    fs, path = storage.resolve(uri)

    def read() -> list[str]:
        with fs.open_input_file(path) as stream:
            ids: list[str] = pq.ParquetFile(stream).read(columns=["sample_id"])["sample_id"].to_pylist()
        return ids

    return storage.retried(uri, read)


def _copy_key(key: str, names: Sequence[str]) -> str:
    source, _, made = key.partition("-")
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
