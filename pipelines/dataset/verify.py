"""Verify: check the shards of a set in parallel, on Ray Data; the set is judged where it was asked."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import ray.data

from pipelines.context import map_blocks
from pipelines.progress import Progress, Say, say
from pipelines.resources import Request
from pipelines.waiting import wait_for, watched
from reid.config import RayConfig
from reid.data.shards.manifest import Shard
from reid.data.shards.shard_set import ShardSet
from reid.dataset.verify import SetVerdict, ShardCheck, check_shard, judge_shards


def verify(shards: ShardSet, share: float = 1.0, parallel: bool = True, out: Say = say) -> SetVerdict:
    """Check every shard, in Ray tasks or in this process; a share of the rows has its pictures decoded."""
    progress = Progress("verify", sum(s.rows for s in shards.manifest.shards), out=out)
    sizes = {s.key: s.rows for s in shards.manifest.shards}

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
    tables = [pa.table({"shard": [s.model_dump_json()]}) for s in shards.manifest.shards]
    if not tables:
        return
    requests = [Request("task", 1, {"CPU": 1}, {"--workers": "0 (this process)"})]
    wait_for("verify", requests, RayConfig(), out)
    dataset = map_blocks(
        ray.data.from_arrow(tables),
        check_stage,
        fn_kwargs={"root": shards.root, "share": share},
        batch_size=None,
        num_cpus=1,
    )
    with watched("verify", requests, RayConfig(), out):
        for row in dataset.iter_rows():
            yield ShardCheck.model_validate_json(row["check"])
