"""Plans shards from labels alone: records become plans of whole identities, named by their content.

The records themselves lie in plan files, some hundred shards in each; a plan says where its own are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reid.config import fingerprint
from reid.data.readers.base import Reader
from reid.dataset.planning.plan_files import PlanFiles, TemporaryPlanFolder
from reid.dataset.planning.plan_table import PlanTable, ShardPlan
from reid.dataset.planning.record_spool import RecordSpool, SpooledShard
from reid.errors import DataError


@dataclass(frozen=True)
class Planned:
    """The plans of a build, in order."""

    plans: PlanTable
    masks: bool
    """Whether a record names a mask."""


def plan_shards(reader: Reader, source: Any, rows_per_shard: int, made: Any = None) -> PlanTable:
    """The plans of `plan_build`."""
    return plan_build(reader, source, rows_per_shard, made).plans


def plan_build(reader: Reader, source: Any, rows_per_shard: int, made: Any = None) -> Planned:
    """Divide the reader's records into shards of about `rows_per_shard` rows; an identity is never split.

    `source` and `made` are JSON-able: what reading depends on besides the records, and what is generated. A
    sample id that occurs again is marked as a problem. Plan files are in a temporary folder, which goes with
    the plans. Raises DataError when there are no records.
    """
    folder = TemporaryPlanFolder()
    spool = RecordSpool(folder.name)
    spool.add(reader.iter_records())
    if not spool.rows:
        raise DataError(f"data.reader: {reader.dataset} has no records; check the path and the layout.")

    def source_key(shard: SpooledShard) -> str:
        return fingerprint([reader.key(record) for record in shard.records()], source)

    plans = plan_spooled(spool, folder, source_key, fingerprint(made), rows_per_shard)
    return Planned(plans, spool.masks)


def plan_spooled(
    spool: RecordSpool,
    folder: TemporaryPlanFolder,
    source_key: Callable[[SpooledShard], str],
    made_key: str,
    rows_per_shard: int,
) -> PlanTable:
    """The plans of records in a spool; their files are made in a folder that is kept as long as they are.

    Args:
        spool: all records.
        folder: the folder.
        source_key: names the input of a shard.
        made_key: names what is made of them all.
        rows_per_shard: records of a shard, about.
    """
    files = PlanFiles(Path(folder.name))
    plans = (
        ShardPlan(source_key(shard), made_key, shard.split, len(shard), files.add(shard.texts))
        for shard in spool.shards(rows_per_shard)
    )
    table = PlanTable.of(plans, folder)
    files.close()
    return table
