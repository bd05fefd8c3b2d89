"""Embed a worklist with Ray Data: an actor pool that reads row groups, and features in Arrow files by key.

A task is the vectors of some whole row groups; parts from other groups are read where they are. Actors write
the vectors; only counts come back. A features set belongs to one model and one shard set, and is reused by
key, so that a run that was interrupted embeds only what is missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from pipelines.cells import in_cell, of_cell
from pipelines.context import map_blocks
from pipelines.placement.devices import device_here
from pipelines.progress import Progress, Say, say
from reid import storage
from reid.config import RayConfig
from reid.data.batches.batch_row import BatchRow
from reid.data.shards.group_samples import GroupSamples
from reid.data.shards.shard_set import ShardSet
from reid.evaluate.features.store import FeatureSet
from reid.evaluate.features.table import FeatureTable, Keys, Vectors
from reid.evaluate.features.work import parts_of, row_of, tasks_of, work_keys
from reid.runs.run import Run, load_run

if TYPE_CHECKING:
    from pipelines.placement.resources import Request

COUNTS = pa.schema([("vectors", pa.int64())])
TASK_ROWS = 8192
"""Vectors of a task, at most about: what an interruption costs an actor, and what a file holds at first."""
TASKS_PER_ACTOR = 16
"""Tasks that each actor gets at least, where there are row groups enough: the last ones end together."""


def features_of(run: Run, shards: ShardSet) -> FeatureSet:
    """Where the vectors of a run on a shard set are kept: below `<run>/features/<data fingerprint>`."""
    uri = storage.join(run.uri, "features", shards.fingerprint)
    return FeatureSet(uri, run.fingerprint, shards.fingerprint)


def embed_work(
    run: Run,
    shards: ShardSet,
    splits: Sequence[str],
    work: pa.Table,
    *,
    actors: int,
    gpus_per_actor: float = 0,
    batch_size: int = 64,
    ray_config: RayConfig | None = None,
    out: Say = say,
) -> FeatureTable:
    """Every stored vector of the run and the set, with all those of the worklist: stored ones are reused.

    Args:
        run: the model.
        shards: where the samples are.
        splits: the splits over which the worklist numbers its row groups.
        work: a table as `work_table` makes it.
        actors: processes that embed; 0: this one.
        gpus_per_actor: GPUs of each; fractions are allowed.
        batch_size: captures embedded together.
        ray_config: how long to wait for actors.
        out: takes the lines for the user.
    """
    store = features_of(run, shards)
    features = store.read()
    if earlier := store.earlier_files():
        out(f"embed: {earlier} files of an earlier version in {store.uri} are not read; delete them.")
    missing = work.filter(pa.array(features.find(work_keys(work)) < 0))
    if not missing.num_rows:
        return features
    kept = work.num_rows - missing.num_rows
    told = f" ({kept} of {work.num_rows} vectors are stored already)" if kept else ""
    out(f"embed: {missing.num_rows} vectors to do{told}")
    del features  # of a store, they are copies on this disk: let go before all are copied again
    rows = max(1, min(TASK_ROWS, missing.num_rows // (TASKS_PER_ACTOR * max(1, actors))))
    tasks = [in_cell(task) for task in tasks_of(missing, rows)]
    parallel = min(actors, len(tasks))
    progress = Progress("embed", missing.num_rows, "vectors", out=out, parallel=parallel)
    if actors == 0:
        embedder = EmbeddingActor(run.uri, shards.root, splits, batch_size, run=run)
        for task in tasks:
            progress.add(_count(embedder(task)))
    else:
        import ray.data

        from pipelines.placement.waiting import wait_for, watched

        settings = ray_config or RayConfig()
        requests = embed_requests(actors, gpus_per_actor, len(tasks))
        wait_for("embed", requests, settings, out)
        dataset = map_blocks(
            ray.data.from_arrow(tasks),
            EmbeddingActor,
            fn_constructor_kwargs={
                "run_uri": run.uri,
                "shards_uri": shards.root,
                "splits": tuple(splits),
                "batch_size": batch_size,
                "gpus": gpus_per_actor,
            },
            batch_size=1,  # a task; with GPUs, Ray wants a number
            num_gpus=gpus_per_actor or None,
            num_cpus=None if gpus_per_actor else 1,
            compute=ray.data.ActorPoolStrategy(size=parallel),
        )
        with watched("embed", requests, settings, out, store=run.uri):
            for batch in dataset.iter_batches(batch_size=None, batch_format="pyarrow"):
                progress.add(_count(batch))
    store.compact()
    return store.read()


def embed_requests(actors: int, gpus_per_actor: float, tasks: int = 1) -> list[Request]:
    """What embedding asks of the cluster for so many tasks; nothing when it is done in this process."""
    return actor_requests("embedding actor", actors, gpus_per_actor, tasks)


def actor_requests(what: str, actors: int, gpus_per_actor: float, tasks: int) -> list[Request]:
    """What a pool of actors asks of the cluster for so many tasks; `what` names one actor."""
    if actors == 0:
        return []
    from pipelines.placement.resources import Request

    fields = {"evaluate.actors": actors, "evaluate.gpus_per_actor": gpus_per_actor}
    count = min(actors, tasks)
    named = what if count == 1 else what.replace("actor", "actors", 1)
    return [Request(named, count, {"CPU": 1, "GPU": gpus_per_actor}, fields, least=1)]


class EmbeddingActor:
    """Loads the model once; embeds one task a call, writes its vectors as one file and returns their number.

    A call gets one row of CELL with a table of WORK, and gives one of COUNTS.
    """

    def __init__(
        self,
        run_uri: str,
        shards_uri: str,
        splits: Sequence[str],
        batch_size: int,
        gpus: float = 0,
        run: Run | None = None,
    ) -> None:
        self.run = run or load_run(run_uri, device_here(gpus, "evaluate.gpus_per_actor"))
        shards = ShardSet.at(shards_uri)
        self.store = features_of(self.run, shards)
        self.samples = GroupSamples(shards, splits)
        self.batch_size = batch_size

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Embed a task, a row group after the other."""
        found = [self._embed(group) for group in tasks_of(of_cell(batch), rows=1)]
        keys, vectors = (np.concatenate(side) for side in zip(*found, strict=True))
        self.store.add(keys, vectors)
        return pa.table({"vectors": [len(keys)]}, schema=COUNTS)

    def _embed(self, work: pa.Table) -> tuple[Keys, Vectors]:
        """The (n, 2) keys and (n, dim) vectors of one row group's items."""
        keys, vectors = [], []
        for side in ("query", "gallery"):
            mine = work.filter(pa.compute.equal(work["side"], side))
            if mine.num_rows:
                rows = [self._row(cell) for cell in mine["parts"].to_pylist()]
                keys.append(work_keys(mine))
                vectors.append(self.run.embed_rows(rows, side, self.batch_size))
        return np.concatenate(keys), np.concatenate(vectors)

    def _row(self, cell: list[dict[str, object]]) -> BatchRow:
        parts = parts_of(cell)
        return row_of(
            {m: part for m, (part, _) in parts.items()},
            lambda m: self.samples.sample(parts[m][0].sample_id, parts[m][1]),
        )


def _count(table: pa.Table) -> int:
    return sum(table["vectors"].to_pylist())
