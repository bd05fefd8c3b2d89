"""The last stage: good rows become a Parquet file, and its statistics file marks it as finished."""

from __future__ import annotations

from reid import storage
from reid.data.shards.manifest import Shard
from reid.data.shards.shard_set import row_order, write_shard
from reid.dataset.duplicates import digests_of
from reid.dataset.recipe import Recipe
from reid.dataset.rows import WRITE, ShardRows, quarantine_row


def data_uri(root: str, name: str) -> str:
    """The uri of a shard's file, or of its statistics, by name."""
    return storage.join(root, "data", name)


def write_work(work: ShardRows, root: str, rows_per_group: int, recipe: Recipe) -> Shard:
    """Write a shard and then its statistics file, without which the shard does not count."""
    good = [row.sample for row in work.rows if row.error is None]
    bad = [quarantine_row(row) for row in work.rows if row.error is not None]
    clock = work.clock
    with clock.stage(WRITE, len(work.rows)):
        shard = write_shard(good, data_uri(root, f"{work.key}.parquet"), work.key, rows_per_group, bad)
    shard = shard.model_copy(
        update={
            "seconds": {name: round(seconds, 4) for name, seconds in clock.seconds.items()},
            "worked": dict(clock.worked),
            "captions": dict(clock.captions),
            "notes": dict(clock.notes),
            "source_key": work.source_key,
            "made": {step.target.value: step.made_by() for step in recipe.steps},
            "donor": work.donor,
            "kept": [target.value for target in work.kept],
            "digests": digests_of(sorted(good, key=row_order)),
        }
    )
    write_statistics(root, shard)
    return shard


def write_statistics(root: str, shard: Shard) -> None:
    """Write the statistics of a complete shard file, which marks it as finished."""
    storage.write_json(data_uri(root, f"{shard.key}.json"), shard.model_dump(mode="json"))
