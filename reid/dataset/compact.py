"""Compaction: the rows of a set in larger or smaller files and row groups, as a new set.

The manifest alone decides which rows go where, so every new shard is made independently from a few old row
groups. Rows do not change; only the layout does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydantic import BaseModel

from reid import storage
from reid.config import fingerprint
from reid.data.shards.manifest import Shard
from reid.data.shards.shard_set import GroupRef, ShardSet, publish, write_shard
from reid.dataset.stages.writing import data_uri
from reid.errors import DataError


class NewShard(BaseModel):
    """One file to be written: row groups of the old set, in order."""

    key: str
    split: str
    rows: int
    groups: list[tuple[str, int]]  # (file name, index of the row group)


def plan_compaction(shards: ShardSet, rows_per_shard: int, rows_per_group: int) -> list[NewShard]:
    """Distribute consecutive row groups to files of at most `rows_per_shard` rows; an identity stays in one
    file.

    A file is larger only if one identity, or one row group of the old set, already is.
    """
    plans: list[NewShard] = []
    stored = shards.stored
    sums = dict(zip(stored.column("file"), stored.column("sha256"), strict=True))
    for split in stored.splits:
        filled: list[list[GroupRef]] = []
        for unit in _units(shards.groups(split)):
            size = sum(g.rows for g in unit)
            if filled and sum(g.rows for g in filled[-1]) + size <= rows_per_shard:
                filled[-1] += unit
            else:
                filled.append(list(unit))
        for part in filled:
            groups = [(_name(g.file), g.index) for g in part]
            key = fingerprint("compact", [[sums[n], i] for n, i in groups], rows_per_group)
            plans.append(NewShard(key=key, split=split, rows=sum(g.rows for g in part), groups=groups))
    return plans


def write_compacted(shards: ShardSet, plan: NewShard, root: str, rows_per_group: int) -> Shard:
    """Write one shard of the new set and then its statistics; a finished one is not written again."""
    statistics = data_uri(root, f"{plan.key}.json")
    if storage.exists(statistics):
        return Shard.model_validate(storage.read_json(statistics))
    refs = [GroupRef(data_uri(shards.root, file), index, 0, ()) for file, index in plan.groups]
    samples = [s for ref in refs for s in shards.read_group(ref)]
    if len(samples) != plan.rows:
        raise DataError(
            f"{shards.root}: {len(samples)} rows where the manifest has {plan.rows}; run "
            f"`python -m jobs.build verify {shards.root}`."
        )
    shard = write_shard(samples, data_uri(root, f"{plan.key}.parquet"), plan.key, rows_per_group, [])
    old = shards.stored[shards.stored.column("file").index(plan.groups[0][0])]
    shard = shard.model_copy(update={"made": old.made})
    storage.write_json(statistics, shard.model_dump(mode="json"))
    return shard


def publish_compacted(shards: ShardSet, root: str, made: Sequence[Shard], rows_per_group: int) -> ShardSet:
    """Publish the new set's manifest: the old set's counts and lineage with the new files."""
    old = shards.manifest
    manifest = old.model_copy(
        update={
            "fingerprint": fingerprint("compact", [s.key for s in made]),
            "shards": made,
            "lineage": {**old.lineage, "compacted_from": shards.root, "rows_per_group": rows_per_group},
        }
    )
    publish(root, manifest)
    return ShardSet.at(root)


def check_target(shards: ShardSet, root: str) -> None:
    """Raise DataError when the new set would lie inside the old one or inside other data."""
    if root.rstrip("/") == shards.root.rstrip("/"):
        raise DataError(f"{root}: a set is not compacted in place; name another folder.")
    if not storage.exists(storage.join(root, "MANIFEST.json")):
        return
    before = ShardSet.at(root).manifest.lineage.get("compacted_from")
    if before != shards.root:
        raise DataError(f"{root}: holds another set already ({before or 'a built one'}); name a new folder.")


def _units(groups: Sequence[GroupRef]) -> Iterator[list[GroupRef]]:
    """Row groups that must stay together: those that one large identity fills."""
    unit: list[GroupRef] = []
    for group in groups:
        if unit and not set(_identities(group)) & set(_identities(unit[-1])):
            yield unit
            unit = []
        unit.append(group)
    if unit:
        yield unit


def _identities(group: GroupRef) -> list[tuple[str, int]]:
    return [(dataset, pid) for dataset, pid, _ in group.identities]


def _name(uri: str) -> str:
    return uri.rsplit("/", 1)[-1]
