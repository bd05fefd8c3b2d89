"""Compact: write the shards of a set anew with another layout, each in a task of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from pipelines.context import map_blocks
from pipelines.placement.resources import Request, at_once
from pipelines.placement.waiting import wait_for, watched
from pipelines.progress import Progress, Say, say
from pipelines.task_blocks import task_blocks
from reid import storage
from reid.config import RayConfig
from reid.data.shards.manifest import Shard
from reid.data.shards.shard_set import ShardSet
from reid.dataset.compact import NewShard, check_target, plan_compaction, publish_compacted, write_compacted


def compact(
    shards: ShardSet,
    to: str,
    rows_per_shard: int,
    rows_per_group: int,
    parallel: bool = True,
    out: Say = say,
) -> ShardSet:
    """The same rows below `to`, in files of about `rows_per_shard`; what is finished there is kept.

    Raises DataError when `to` holds another set.
    """
    root = storage.absolute(to)
    check_target(shards, root)
    plans = plan_compaction(shards, rows_per_shard, rows_per_group)
    workers = at_once(len(plans)) if parallel and plans else 1
    progress = Progress("compact", sum(p.rows for p in plans), out=out, parallel=workers)
    made = []
    written: Iterator[Shard] = (
        _parallel(shards, plans, root, rows_per_group, out)
        if parallel
        else _here(shards, plans, root, rows_per_group)
    )
    for shard in written:
        made.append(shard)
        progress.add(shard.rows)
    order = {plan.key: place for place, plan in enumerate(plans)}
    return publish_compacted(shards, root, sorted(made, key=lambda s: order[s.key]), rows_per_group)


def compact_stage(batch: pa.Table, source: str, root: str, rows_per_group: int) -> pa.Table:
    """Plans as JSON in, the statistics of the written shards out."""
    shards = ShardSet.open(source)
    plans = (NewShard.model_validate_json(text) for text in batch["plan"].to_pylist())
    made = [write_compacted(shards, plan, root, rows_per_group) for plan in plans]
    return pa.table({"shard": [s.model_dump_json() for s in made]})


def _here(shards: ShardSet, plans: list[NewShard], root: str, rows_per_group: int) -> Iterator[Shard]:
    return (write_compacted(shards, plan, root, rows_per_group) for plan in plans)


def _parallel(
    shards: ShardSet, plans: list[NewShard], root: str, rows_per_group: int, out: Say
) -> Iterator[Shard]:
    if not plans:
        return
    requests = [Request("task", 1, {"CPU": 1}, {"--workers": "0 (this process)"})]
    wait_for("compact", requests, RayConfig(), out)
    given = {"source": shards.root, "root": root, "rows_per_group": rows_per_group}
    with watched("compact", requests, RayConfig(), out, store=root):
        for tasks in task_blocks((plan.model_dump_json() for plan in plans), "plan"):
            written = map_blocks(tasks, compact_stage, fn_kwargs=given, batch_size=None, num_cpus=1)
            for row in written.iter_rows():
                yield Shard.model_validate_json(row["shard"])
