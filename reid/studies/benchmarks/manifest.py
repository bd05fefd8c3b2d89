"""Memory and time of what is done with a manifest alone, at 100 million captures of 5 million identities.

A manifest without shards is published, and each step runs in a process of its own, so that its largest
resident memory is its own: opening the set, labels of a run, the index and the first steps of an epoch on one
of 64 ranks, the checks before training, the verdict on a set, and what the driver of a build holds: the
statistics of finished shards, and the plan of every record, which takes most of the time and 10 GB of the
temporary folder.
"""

from __future__ import annotations

import base64
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reid import storage
from reid.config import BatchConfig
from reid.data.batches.epoch_plan import EpochPlan, assign
from reid.data.batches.row_group_index import GroupIndex, count_chunks, identity_subsets
from reid.data.batches.samplers import sampler_of
from reid.data.shards.manifest import RowGroup, Shard
from reid.data.shards.shard_set import ShardSet
from reid.dataset.built_shards import DIGEST, BuiltShards
from reid.dataset.duplicates import find_duplicates
from reid.dataset.planning.plan_files import TemporaryPlanFolder
from reid.dataset.planning.record_spool import RecordSpool, SpooledShard
from reid.dataset.planning.shard_plan import plan_spooled
from reid.dataset.planning.shard_task import TaskTable
from reid.dataset.verify import ShardCheck, judge_shards
from reid.modality import Modality
from reid.runs.identities import LabelMap, training_labels
from reid.studies.benchmarks.synthetic_manifest import ROWS_PER_SHARD, synthetic_set
from reid.studies.benchmarks.timing import BenchmarkRow

CAPTURES, IDENTITIES = 100_000_000, 5_000_000
LIMIT = 4096.0
"""MiB that no process may exceed."""
PATIENCE = 60.0
"""Seconds within which the first batch of an epoch is planned."""
RANKS = 64
_ADDED = 2**16
"""Records that are added to a plan at a time."""
_BATCH = BatchConfig(identities=16 * RANKS, instances=4)


def manifest_rows(captures: int = CAPTURES, identities: int | None = None) -> Iterator[BenchmarkRow]:
    """MiB and seconds of each step, in a process of its own; by default 20 captures an identity."""
    identities = identities or max(1, captures * IDENTITIES // CAPTURES)
    with tempfile.TemporaryDirectory(prefix="anyreid-bench-") as folder:
        for name in STEPS:
            told = _in_process(name, folder, captures, identities)
            yield BenchmarkRow(f"{name}, memory", told["mib"], "MiB", LIMIT, LIMIT / told["mib"], 1.0)
            waits = name == "first steps of a rank"
            ratio = PATIENCE / told["seconds"] if waits else None
            yield BenchmarkRow(
                f"{name}, time",
                told["seconds"],
                "s",
                PATIENCE if waits else None,
                ratio,
                1.0 if waits else None,
            )


def _publish(folder: str, captures: int, identities: int) -> None:
    synthetic_set(str(Path(folder, "set")), captures, identities)


def _open(folder: str, captures: int, identities: int) -> None:
    shards = ShardSet.open(str(Path(folder, "set")))
    assert len(shards.identities("train")) == identities
    assert shards.rows("train") > 0 and len(shards.groups("train")) > 0


def _labels(folder: str, captures: int, identities: int) -> None:
    shards = ShardSet.open(str(Path(folder, "set")))
    labels, held_out = training_labels(shards, 0.01, seed=0)
    assert len(labels.classes) + len(held_out) == identities
    storage.write_bytes(str(Path(folder, "labels.parquet")), labels.to_parquet())


def _rank(folder: str, captures: int, identities: int) -> None:
    shards = ShardSet.open(str(Path(folder, "set")))
    labels = LabelMap.from_parquet(Path(folder, "labels.parquet").read_bytes())
    sampler = sampler_of(_BATCH, (Modality.RGB, Modality.NIR))
    index = GroupIndex(shards, "train", labels.labels, sampler)
    share = assign(index.group_chunks(), RANKS, 0, np.random.default_rng(0))
    arrivals = ((group, index.entries(group)) for group in share)
    size = _BATCH.global_identities(RANKS) // RANKS
    plan = EpochPlan(arrivals, size, _BATCH.reservoir_rows, sampler.choose, np.random.default_rng(1))
    for _ in range(10):
        plan.step()
    assert all(index.ref(group).file for group in plan.arrived())


def _checks(folder: str, captures: int, identities: int) -> None:
    found = identity_subsets(ShardSet.open(str(Path(folder, "set"))), "train")
    sampler = sampler_of(_BATCH, (Modality.RGB, Modality.NIR))
    chunks, _ = count_chunks(sampler, found.identities, found.patterns, found.pattern)
    assert int((chunks > 0).sum()) > 0


def _collect(folder: str, captures: int, identities: int) -> None:
    """What the driver of a build does with the statistics of finished shards, and the search for duplicates.

    Statistics are of one pattern: making each from a file would measure JSON.
    """
    built = BuiltShards()
    draw = np.random.default_rng(0)
    each = max(1, captures // identities)
    people = max(1, ROWS_PER_SHARD // each)
    for number in range(max(1, captures // (people * each))):
        first = number * people
        groups = [
            RowGroup(rows=each, identities=[("synthetic", pid, each)]) for pid in range(first, first + people)
        ]
        built.add(
            Shard(
                key=f"{number:012x}-{number:012x}",
                file=f"{number:012x}.parquet",
                split="train",
                rows=people * each,
                bytes=1,
                sha256="0" * 64,
                row_groups=groups,
                modalities={"rgb": {"captured": people * each}},
                cameras=[0, 1, 2],
                digests=base64.b64encode(draw.bytes(DIGEST * people * each)).decode(),
            )
        )
    found = find_duplicates(built.collected(sorted(built.places)))
    assert found.same_identity == 0


def _plan(folder: str, captures: int, identities: int) -> None:
    """The plan of a build. Records come as columns, their identities in no order: making each of an object
    takes 25 microseconds and no memory that stays.
    """
    files = TemporaryPlanFolder()
    spool, each = RecordSpool(files.name), max(1, captures // identities)
    for some in np.array_split(np.random.default_rng(0).permutation(identities), max(1, captures // _ADDED)):
        pid, camid = pa.array(np.repeat(some, each)), pa.array(np.tile(np.arange(each), len(some)))
        numbers = [column.cast(pa.string()) for column in (pid, camid)]
        sample = pc.binary_join_element_wise(*numbers, "_c")
        words = ('{"labels":{"sample_id":"', sample, '","dataset":"made","split":"train","pid":', numbers[0])
        texts = pc.binary_join_element_wise(*words, ',"camid":', numbers[1], "}}", "")
        spool.add_columns("train", "made", pid, camid, sample, texts.cast(pa.binary()))

    def source_key(shard: SpooledShard) -> str:
        return storage.sha256(shard.texts.buffers()[2])

    tasks = TaskTable.of(plan_spooled(spool, files, source_key, "made", ROWS_PER_SHARD), {})
    assert sum(task.plan.rows for task in tasks) == identities * each
    assert len(tasks[0].plan.records) == tasks[0].plan.rows


def _verify(folder: str, captures: int, identities: int) -> None:
    """What judges a set makes of the checks of its shards; no file is read for them."""
    shards = ShardSet.open(str(Path(folder, "set")))
    draw, stored = np.random.default_rng(0), shards.stored
    checks = (
        ShardCheck(key=key, problems=[], rows=rows, ids=draw.bytes(8 * rows).hex())
        for key, rows in zip(stored.column("key"), stored.column("rows"), strict=True)
    )
    verdict = judge_shards(shards, checks)
    assert verdict.rows == shards.rows("train") and "MANIFEST.json" not in verdict.problems


def _nothing(folder: str, captures: int, identities: int) -> None:
    """What the imports alone take."""


STEPS: dict[str, Callable[[str, int, int], None]] = {
    "imports alone": _nothing,
    "publish a manifest": _publish,
    "open the set": _open,
    "labels of a run": _labels,
    "first steps of a rank": _rank,
    "checks before training": _checks,
    "verdict on the set": _verify,
    "statistics of a build": _collect,
    "plan of a build": _plan,
}
"""Each uses what those before it left in the folder."""


def _in_process(name: str, folder: str, captures: int, identities: int) -> dict[str, float]:
    command = [sys.executable, "-m", __name__, name, folder, str(captures), str(identities)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def peak_mib() -> float:
    """The largest resident memory of this process so far, mapped files included."""
    status = Path("/proc/self/status")
    if status.exists():  # the other number also counts the process that started this one
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 2**20 if sys.platform == "darwin" else most / 1024


if __name__ == "__main__":
    step, place, rows_, people = sys.argv[1:]
    began = time.perf_counter()
    STEPS[step](place, int(rows_), int(people))
    sys.stdout.write(json.dumps({"seconds": time.perf_counter() - began, "mib": peak_mib()}) + "\n")
