"""The stages of a build on Ray Data. A row is a whole shard from the first stage to the last.

Neighbouring stages that run in tasks of the same size are one stage here: rows pass between them as Python
objects, and a picture is decoded once. A generator that loads a network has a pool of actors instead.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import pyarrow as pa
import ray.data

from pipelines.cells import in_cell, of_cell
from pipelines.context import map_blocks
from pipelines.placement.devices import device_here
from pipelines.placement.resources import Request, at_once
from pipelines.placement.waiting import wait_for, watched
from pipelines.progress import Say, say
from pipelines.task_blocks import task_blocks
from reid.config import Config, load
from reid.config.sections.build import StageConfig
from reid.data.shards.manifest import Shard
from reid.dataset.planning.shard_task import ShardTask
from reid.dataset.recipe import Recipe, Step, make_recipe
from reid.dataset.rows import READ, WRITE, pack, unpack
from reid.dataset.stages.running import Stages
from reid.modality import Target

DONE = pa.schema([("shard", pa.string())])
Part = tuple[str, ...]
"""("read",), ("write",), or the targets of a group of generators."""


@dataclass(frozen=True)
class Segment:
    """Parts that run together, and where."""

    parts: tuple[Part, ...]
    cpus: float
    concurrency: int | None
    actors: bool = False
    gpus: float = 0.0


def run_shards(config: Config, root: str, tasks: Sequence[ShardTask], out: Say = say) -> Iterator[Shard]:
    """Stream tasks through the stages, some thousand at a time; yields each shard as it is written."""
    requests = build_requests(config)
    wait_for("build", requests, config.ray, out, together=False)  # stages take turns where room is short
    planned = segments(config, make_recipe(config))
    given = {"config": config.model_dump_json(), "root": root}
    run = uuid.uuid4().hex
    with watched("build", requests, config.ray, out, store=root):
        for dataset in task_blocks((task.to_json() for task in tasks), "task"):
            for row in _staged(dataset, planned, given, run).iter_rows():
                yield Shard.model_validate_json(row["shard"])


def _staged(
    dataset: ray.data.Dataset, planned: Sequence[Segment], common: Mapping[str, Any], run: str
) -> ray.data.Dataset:
    """Tasks through all segments."""
    for segment in planned:
        given: dict[str, Any] = {**common, "parts": segment.parts}
        options: dict[str, Any] = {"batch_size": 1, "num_cpus": segment.cpus}
        if segment.actors:
            compute: Any = ray.data.ActorPoolStrategy(size=segment.concurrency or 1)
            options |= {"num_gpus": segment.gpus or None, "fn_constructor_kwargs": given}
            dataset = map_blocks(dataset, SegmentActor, compute=compute, **options)
        else:
            compute = ray.data.TaskPoolStrategy(size=segment.concurrency)
            given["run"] = run
            dataset = map_blocks(dataset, segment_task, compute=compute, fn_kwargs=given, **options)
    return dataset


def shards_at_once(config: Config, tasks: int) -> int:
    """How many of the shards are worked on side by side in the stage that takes the fewest."""
    return min(
        min(tasks, segment.concurrency or 1)
        if segment.actors
        else at_once(min(tasks, segment.concurrency or tasks), segment.cpus)
        for segment in segments(config, make_recipe(config))
    )


def build_requests(config: Config) -> list[Request]:
    """What each stage asks of the cluster: a pool all its processes, tasks that one of them fits."""
    found = []
    for segment in segments(config, make_recipe(config)):
        needs = {"CPU": segment.cpus, "GPU": segment.gpus}
        if segment.actors:
            where = f"build.generate.{segment.parts[0][0]}"
            count = segment.concurrency or 1
            fields = {"concurrency": count, "cpus": segment.cpus, "gpus": segment.gpus}
            what = "process" if count == 1 else "processes"
            told = {f"{where}.{k}": v for k, v in fields.items()}
            found.append(Request(f"{what} of {segment.parts[0][0]}", count, needs, told, least=1))
        else:
            places = [p[0] if p in {(READ,), (WRITE,)} else "light" for p in segment.parts]
            told = {f"build.{place}.cpus": segment.cpus for place in places}
            found.append(Request("task", 1, needs, told))
    return found


def segments(config: Config, recipe: Recipe) -> list[Segment]:
    """The stages of a build, neighbours of equal placement joined."""
    build = config.build
    light = [(_names(group), build.light) for group in recipe.groups()]
    parts: list[tuple[Part, StageConfig]] = [((READ,), build.read), *light, ((WRITE,), build.write)]
    found: list[Segment] = []
    for part, place in parts:
        step = _heavy(part, recipe)
        if step is not None:
            section = step.section
            found.append(Segment((part,), section.cpus or 1, section.concurrency, True, section.gpus))
            continue
        own = Segment((part,), place.cpus, place.concurrency or build.concurrency)
        last = found[-1] if found else None
        if last and not last.actors and (last.cpus, last.concurrency) == (own.cpus, own.concurrency):
            found[-1] = Segment((*last.parts, part), own.cpus, own.concurrency)
        else:
            found.append(own)
    return found


def segment_task(batch: pa.Table, config: str, root: str, parts: tuple[Part, ...], run: str) -> pa.Table:
    """One shard through the parts of a segment, in a task."""
    return _run(_stages(config, root, run), batch, parts)


class SegmentActor:
    """The same in an actor, which loads its generator once."""

    def __init__(self, config: str, root: str, parts: tuple[Part, ...]) -> None:
        self.stages, self.parts = Stages(load_text(config), root, _device), parts
        for part in parts:
            self.stages.load(_targets(part))

    def __call__(self, batch: pa.Table) -> pa.Table:
        """One shard through the segment."""
        return _run(self.stages, batch, self.parts)


@lru_cache(maxsize=4)
def _stages(config: str, root: str, run: str) -> Stages:
    """Kept by a worker from one shard of a run to the next; another run may find other files and code."""
    return Stages(load_text(config), root, _device)


def load_text(config: str) -> Config:
    """A configuration that was sent as JSON."""
    return load(json.loads(config))


def _run(stages: Stages, batch: pa.Table, parts: tuple[Part, ...]) -> pa.Table:
    """A task, or a shard in a cell, through the parts: a shard in a cell, or what became of it."""
    if parts[0] == (READ,):
        (task,) = batch["task"].to_pylist()
        work = stages.read(ShardTask.from_json(task))
        parts = parts[1:]
    else:
        (work,) = unpack(of_cell(batch))
    for part in parts:
        if part == (WRITE,):
            return pa.table({"shard": [stages.write(work).model_dump_json()]}, schema=DONE)
        work = stages.generate(work, _targets(part))
    return in_cell(pack([work]))


def _device(step: Step) -> str:
    return device_here(step.section.gpus, f"build.generate.{step.target.value}.gpus").type


def _names(group: Sequence[Step]) -> Part:
    return tuple(step.target.value for step in group)


def _targets(part: Part) -> tuple[Target, ...]:
    return tuple(Target(name) for name in part)


def _heavy(part: Part, recipe: Recipe) -> Step | None:
    if part in {(READ,), (WRITE,)}:
        return None
    step = recipe.by_target[Target(part[0])]
    return step if step.heavy else None
