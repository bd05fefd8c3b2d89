"""The build: stages on Ray against a plain loop, rows between two stages, and rendered identities."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import torch

from reid.config import Config, load
from reid.data.images import encode_jpeg
from reid.data.readers.base import open_reader
from reid.data.synthetic import SyntheticConfig, make_identity, render_capture
from reid.data.synthetic.version2 import Version2Config, render
from reid.dataset.planning.shard_plan import plan_shards
from reid.dataset.planning.shard_task import ShardTask, TaskTable
from reid.dataset.recipe import make_recipe
from reid.dataset.rows import ShardRows, pack, unpack
from reid.dataset.stages.reading import read_record
from reid.dataset.stages.running import Runner, run_here
from reid.studies.benchmarks.timing import BenchmarkRow, compare

SHARDS, ROWS_PER_SHARD = 12, 256
"""A shard is about a second of work: below that, Ray's scheduling leaves a second worker idle."""
DIFFERENT = 32
"""Pictures that are rendered; each is a file several times."""
OVERHEAD = 1.15
"""One Ray worker may take so many times the plain loop's time, once it runs."""
SPEEDUP = 1.5
"""Two workers are so many times as fast as one, where there are two cores."""
BETWEEN = 20.0
"""Handing a row to another process takes at most this part of the work on it."""


def build_rows(
    repeats: int, run: Runner, shards: int = SHARDS, rows_per_shard: int = ROWS_PER_SHARD
) -> Iterator[BenchmarkRow]:
    """Milliseconds a row in steady state; `run` makes shards on Ray, which is up already."""
    with tempfile.TemporaryDirectory(prefix="anyreid-bench-") as folder:
        place = Path(folder)
        photos(place / "in", shards, rows_per_shard)
        one, two = (settings(place, rows_per_shard, workers) for workers in (1, 2))
        tasks = plan(one)
        list(run(two, str(place / "warm"), tasks[:4]))
        competitors: dict[str, Callable[[], float]] = {
            "loop": partial(_a_row, run_here, one, place / "loop", tasks, 1),
            "one": partial(_a_row, run, one, place / "ray", tasks, 1),
            "two": partial(_a_row, run, two, place / "ray", tasks, 2),
        }
        best = dict.fromkeys(competitors, float("inf"))
        for _ in range(repeats):
            for name, call in competitors.items():
                best[name] = min(best[name], call())
        loop, alone, both = (best[name] * 1e3 for name in ("loop", "one", "two"))
        yield BenchmarkRow("plain loop", loop, "ms/row")
        yield BenchmarkRow("one Ray worker", alone, "ms/row", loop, loop / alone, 1 / OVERHEAD)
        cores = os.cpu_count() or 1
        yield BenchmarkRow(
            "two Ray workers", both, "ms/row", alone, alone / both, SPEEDUP if cores > 1 else None
        )
        yield from _stages(one, place / "loop", tasks[:4])
        yield _between(one, tasks[0], repeats, loop)
    yield rendering_row(repeats)


def photos(folder: Path, shards: int, rows_per_shard: int) -> None:
    """Folders of identities, four JPEG files each."""
    made = SyntheticConfig(seed=0, height=256, width=128)
    captures = [render_capture(made, make_identity(made, i // 4), 0, i % 4) for i in range(DIFFERENT)]
    encoded = [encode_jpeg(capture.rgb) for capture in captures]
    for number in range(shards * rows_per_shard):
        uri = folder / f"{number // 4:05d}" / f"{number % 4}.jpg"
        uri.parent.mkdir(parents=True, exist_ok=True)
        uri.write_bytes(encoded[number % DIFFERENT])


def settings(folder: Path, rows_per_shard: int, workers: int) -> Config:
    """A sketch and a near-infrared picture of every photo."""
    return load(
        {
            "name": "bench",
            "workdir": str(folder),
            "data": {
                "name": "bench",
                "reader": {"name": "folder", "path": str(folder / "in")},
                "modalities": "rgb+nir+sketch",
            },
            "build": {
                "rows_per_shard": rows_per_shard,
                "concurrency": workers,
                "generate": {"sketch": {"generator": "sketch_dog"}, "nir": {"generator": "ir_nir"}},
            },
            "model": {"name": "baseline", "fusion": "mean"},
        }
    )


def plan(config: Config) -> TaskTable:
    """One task a shard."""
    recipe = make_recipe(config)
    reader = open_reader(config.data.reader, config.data.name)
    return TaskTable.of(plan_shards(reader, recipe.source, config.build.rows_per_shard, recipe.made), {})


def _a_row(run: Runner, config: Config, root: Path, tasks: Sequence[ShardTask], workers: int) -> float:
    """Seconds a row between the shards that warm up, two a worker, and the last one."""
    ends: list[float] = []
    rows: list[int] = []
    for shard in run(config, str(root), tasks):
        ends.append(time.perf_counter())
        rows.append(shard.rows)
    warm = 2 * workers
    return (ends[-1] - ends[warm - 1]) / sum(rows[warm:])


def _stages(config: Config, root: Path, tasks: Sequence[ShardTask]) -> Iterator[BenchmarkRow]:
    shards = list(run_here(config, str(root), tasks))
    for name in shards[0].seconds:
        seconds = sum(shard.seconds[name] for shard in shards)
        yield BenchmarkRow(f"  {name}", seconds * 1e3 / max(1, sum(s.worked[name] for s in shards)), "ms/row")


def _between(config: Config, task: ShardTask, repeats: int, a_row: float) -> BenchmarkRow:
    """Packing and unpacking a row for another process, against the time of all its stages."""
    reader = open_reader(config.data.reader, config.data.name)
    work = ShardRows("a", "a-b", [read_record(r, reader, config.build.max_pixels) for r in task.plan.records])
    found = compare({"ours": lambda: unpack(pack([work]))}, repeats, torch.device("cpu"))
    ours = found["ours"].seconds / len(work.rows) * 1e3
    return BenchmarkRow("a row between two processes", ours, "ms/row", a_row, a_row / ours, BETWEEN)


def rendering_row(repeats: int, captures: int = 32) -> BenchmarkRow:
    """Version 2 of the rendered identities against version 1: the four pictures that both have, 128 x 64."""
    first, second = SyntheticConfig(), Version2Config()
    wanted = ("rgb", "nir", "tir", "sketch")

    def version_1() -> None:
        for number in range(captures):
            render_capture(first, make_identity(first, number // 8), number % 4, number)

    def version_2() -> None:
        for number in range(captures):
            render(second, number // 8, number % 4, number, wanted)

    found = compare({"first": version_1, "second": version_2}, repeats, torch.device("cpu"))
    before, now = (found[name].seconds / captures * 1e3 for name in ("first", "second"))
    return BenchmarkRow("a rendered capture, version 2", now, "ms", before, before / now, 1.0)
