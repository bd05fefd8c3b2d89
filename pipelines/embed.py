"""Embed a worklist with Ray Data: one pass over the row groups, an actor pool, features in Parquet by key.

The unit of work is a row group with the vectors whose first part lies in it; parts from other groups are
read where they are. A features set belongs to one model and one shard set, and is reused by key.
"""

from __future__ import annotations

import io
import json
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.context import map_blocks
from pipelines.devices import device_here
from pipelines.progress import Progress, Say, say
from reid import storage
from reid.config import RayConfig
from reid.data.batches.auxiliary_inputs import attach_auxiliary
from reid.data.batches.batch_row import BatchRow
from reid.data.batches.sample_rows import sample_part
from reid.data.shards.schema import Sample
from reid.data.shards.shard_set import GroupRef, ShardSet
from reid.errors import DataError
from reid.evaluate.evaluator import EmbeddingTask
from reid.evaluate.protocols.items import QueryPart
from reid.modality import Modality, canonical
from reid.runs.run import Run, load_run

if TYPE_CHECKING:
    from pipelines.resources import Request

Vector = npt.NDArray[np.float32]
FEATURE_SCHEMA = pa.schema([("key", pa.string()), ("side", pa.string()), ("vector", pa.list_(pa.float32()))])
TASK_SCHEMA = pa.schema([("task", pa.string())])


class FeatureSet:
    """Vectors by key in Parquet files below `<run>/features/<data fingerprint>`; files are only added.

    Every file names the weights and the shard set that its vectors are of.
    """

    def __init__(self, run: Run, data_fingerprint: str) -> None:
        self.uri = storage.join(run.uri, "features", data_fingerprint)
        self.of = {"anyreid.model": run.fingerprint, "anyreid.data": data_fingerprint}

    def read(self) -> dict[str, Vector]:
        """Every stored vector. Raises DataError for a file that is of other weights or of other data."""
        found: dict[str, Vector] = {}
        for uri in storage.list_files(self.uri, ".parquet"):
            table = pq.read_table(io.BytesIO(storage.read_bytes(uri)))
            said = {k.decode(): v.decode() for k, v in (table.schema.metadata or {}).items()}
            stray = {name: said[name] for name in self.of if name in said and said[name] != self.of[name]}
            if stray:
                raise DataError(
                    f"{uri}: vectors of {stray}, but this is {self.of}; they cannot be compared. Delete "
                    f"{self.uri} to embed again."
                )
            keys = table["key"].to_pylist()
            found |= dict(zip(keys, _matrix(table["vector"]), strict=True))
        return found

    def add(self, keys: Sequence[str], sides: Sequence[str], vectors: Vector) -> None:
        """Append one file, named by its content."""
        schema = FEATURE_SCHEMA.with_metadata(self.of)
        table = pa.table({"key": list(keys), "side": list(sides), "vector": list(vectors)}, schema=schema)
        stream = io.BytesIO()
        pq.write_table(table, stream, compression="zstd")
        name = storage.sha256("|".join(keys).encode())[:16]
        storage.write_bytes(storage.join(self.uri, f"{name}.parquet"), stream.getvalue())


def embed_work(
    run: Run,
    shards: ShardSet,
    split: str,
    work: Sequence[EmbeddingTask],
    *,
    actors: int,
    gpus_per_actor: float = 0,
    batch_size: int = 64,
    ray_config: RayConfig | None = None,
    out: Say = say,
) -> dict[str, Vector]:
    """Vectors of the worklist by key; stored ones are reused. `actors=0`: in this process."""
    store = FeatureSet(run, shards.fingerprint)
    features = store.read()
    missing = [w for w in work if w.key not in features]
    if not missing:
        return features
    tasks = _tasks(shards, split, missing)
    progress = Progress("embed", len(missing), "vectors", out=out)
    if actors == 0:
        embedder = EmbeddingActor(run.uri, shards.root, split, batch_size, run=run)
        for task in tasks:
            features |= _take(embedder(pa.table({"task": [task]}, schema=TASK_SCHEMA)), progress)
        return features
    import ray.data

    from pipelines.waiting import wait_for, watched

    settings = ray_config or RayConfig()
    requests = embed_requests(actors, gpus_per_actor, len(tasks))
    wait_for("embed", requests, settings, out)
    tables = [pa.table({"task": [task]}, schema=TASK_SCHEMA) for task in tasks]
    dataset = map_blocks(
        ray.data.from_arrow(tables),
        EmbeddingActor,
        fn_constructor_kwargs={
            "run_uri": run.uri,
            "shards_uri": shards.root,
            "split": split,
            "batch_size": batch_size,
            "gpus": gpus_per_actor,
        },
        batch_size=1,  # a task; with GPUs, Ray wants a number
        num_gpus=gpus_per_actor or None,
        num_cpus=None if gpus_per_actor else 1,
        compute=ray.data.ActorPoolStrategy(size=min(actors, len(tasks))),
    )
    with watched("embed", requests, settings, out):
        for batch in dataset.iter_batches(batch_size=None, batch_format="pyarrow"):
            features |= _take(batch, progress)
    return features


def embed_requests(actors: int, gpus_per_actor: float, tasks: int = 1) -> list[Request]:
    """What embedding asks of the cluster for so many tasks; nothing when it is done in this process."""
    if actors == 0:
        return []
    from pipelines.resources import Request

    fields = {"evaluate.actors": actors, "evaluate.gpus_per_actor": gpus_per_actor}
    count = min(actors, tasks)
    what = "embedding actor" if count == 1 else "embedding actors"
    return [Request(what, count, {"CPU": 1, "GPU": gpus_per_actor}, fields, least=1)]


class EmbeddingActor:
    """Loads the model once; embeds one task (a row group's vectors) a call and stores them."""

    def __init__(
        self,
        run_uri: str,
        shards_uri: str,
        split: str,
        batch_size: int,
        gpus: float = 0,
        run: Run | None = None,
    ) -> None:
        self.run = run or load_run(run_uri, device_here(gpus, "evaluate.gpus_per_actor"))
        self.shards = ShardSet.open(shards_uri)
        self.store = FeatureSet(self.run, self.shards.fingerprint)
        self.groups = self.shards.groups(split)
        self.batch_size = batch_size
        self._where: dict[str, GroupRef] | None = None

    def __call__(self, batch: pa.Table) -> pa.Table:
        """One row a task in; one row a vector out."""
        tables = [self._embed(json.loads(text)) for text in batch["task"].to_pylist()]
        return pa.concat_tables(tables)

    def _embed(self, task: dict[str, Any]) -> pa.Table:
        samples = {s.labels.sample_id: s for s in self.shards.read_group(self.groups[task["group"]])}
        keys, sides, vectors = [], [], []
        for side in ("query", "gallery"):
            items = [w for w in task["work"] if w["side"] == side]
            if not items:
                continue
            rows = [self._row(w["parts"], samples) for w in items]
            vectors.append(self.run.embed_rows(rows, side, self.batch_size))
            keys += [w["key"] for w in items]
            sides += [side] * len(items)
        matrix = np.concatenate(vectors)
        self.store.add(keys, sides, matrix)
        return pa.table({"key": keys, "side": sides, "vector": list(matrix)}, schema=FEATURE_SCHEMA)

    def _row(self, parts: dict[str, list[Any]], samples: dict[str, Sample]) -> BatchRow:
        found, holders = {}, {}
        for name, (sample_id, caption) in parts.items():
            sample = samples.get(sample_id) or self._foreign(sample_id)
            holders[Modality(name)] = sample
            found[Modality(name)] = sample_part(sample, Modality(name), caption or 0)
        return attach_auxiliary(BatchRow(found), holders[canonical(holders)[0]])

    def _foreign(self, sample_id: str) -> Sample:
        """A sample of another row group."""
        if self._where is None:
            self._where = sample_groups(self.shards, self.groups)
        group = self._where[sample_id]
        return next(s for s in self.shards.read_group(group) if s.labels.sample_id == sample_id)


def sample_groups(shards: ShardSet, groups: Sequence[GroupRef]) -> dict[str, GroupRef]:
    """Which row group holds each sample (one cheap column read a group)."""
    return {name: group for group in groups for name in shards.sample_ids(group)}


def _tasks(shards: ShardSet, split: str, work: Sequence[EmbeddingTask]) -> list[str]:
    """Worklist items grouped by the row group of their first part, as JSON."""
    groups = shards.groups(split)
    position = {id(g): i for i, g in enumerate(groups)}
    where = sample_groups(shards, groups)
    by_group: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for item in work:
        first: QueryPart = next(iter(item.parts.values()))
        parts = {m.value: [p.sample_id, p.caption_index] for m, p in item.parts.items()}
        by_group[position[id(where[first.sample_id])]].append(
            {"key": item.key, "side": item.side, "parts": parts}
        )
    return [json.dumps({"group": g, "work": items}) for g, items in sorted(by_group.items())]


def _take(table: pa.Table, progress: Progress) -> dict[str, Vector]:
    progress.add(table.num_rows)
    return dict(zip(table["key"].to_pylist(), _matrix(table["vector"]), strict=True))


def _matrix(column: pa.ChunkedArray) -> Vector:
    flat = column.combine_chunks().flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    matrix: Vector = flat.reshape(len(column), -1)
    return matrix
