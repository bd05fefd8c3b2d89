"""Verify: check the shards of a set in parallel, on Ray Data; the set is judged where it was asked."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from pipelines.context import map_blocks
from pipelines.placement.resources import Request, at_once
from pipelines.placement.waiting import wait_for, watched
from pipelines.progress import Progress, Say, say
from pipelines.task_blocks import task_blocks
from reid.config import RayConfig
from reid.data.shards.manifest import Shard
from reid.data.shards.shard_set import ShardSet
from reid.dataset.verify import SetVerdict, ShardCheck, check_shard, judge_shards


def verify(shards: ShardSet, share: float = 1.0, parallel: bool = True, out: Say = say) -> SetVerdict:
    """Check every shard, in Ray tasks or in this process; a share of the rows has its pictures decoded."""
    stored = shards.stored
    sizes = dict(zip(stored.column("key"), stored.column("rows"), strict=True))
    workers = at_once(len(sizes)) if parallel and sizes else 1
    progress = Progress("verify", sum(sizes.values()), out=out, parallel=workers)

    def counted(checks: Iterator[ShardCheck]) -> Iterator[ShardCheck]:
        for check in checks:
            progress.add(sizes[check.key])
            yield check

    checks = _parallel(shards, share, out) if parallel else _here(shards, share)
    return judge_shards(shards, counted(checks))


def check_stage(batch: pa.Table, root: str, share: float) -> pa.Table:
    """Rows of a shard's statistics as JSON in, its check out."""
    shards = (Shard.model_validate_json(text) for text in batch["shard"].to_pylist())
    return pa.table({"check": [check_shard(root, s, share).model_dump_json() for s in shards]})


def _here(shards: ShardSet, share: float) -> Iterator[ShardCheck]:
    return (check_shard(shards.root, shard, share) for shard in shards.manifest.shards)


def _parallel(shards: ShardSet, share: float, out: Say) -> Iterator[ShardCheck]:
    if not len(shards.stored):
        return
    requests = [Request("task", 1, {"CPU": 1}, {"--workers": "0 (this process)"})]
    wait_for("verify", requests, RayConfig(), out)
    given = {"root": shards.root, "share": share}
    with watched("verify", requests, RayConfig(), out, store=shards.root):
        for tasks in task_blocks((shard.model_dump_json() for shard in shards.stored), "shard"):
            checked = map_blocks(tasks, check_stage, fn_kwargs=given, batch_size=None, num_cpus=1)
            for row in checked.iter_rows():
                yield ShardCheck.model_validate_json(row["check"])
