"""Build: raw samples -> generated modalities -> a published shard set.

Planning, finding what is there, and publishing are `reid.dataset`; the work on the shards that are missing
runs on Ray Data (`pipelines.dataset.stages`). A shard is finished when its statistics file exists; the
manifest publishes all of them at once, so that a build that was killed anywhere goes on where it was.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from pipelines.dataset.stages import run_shards, shards_at_once
from pipelines.progress import Progress, Say, say
from reid import storage
from reid.config import Config
from reid.config.addresses import shards_folder, shards_uri
from reid.data.images import SensorSettings
from reid.data.readers.base import open_reader
from reid.data.shards.places import find_set
from reid.data.shards.shard_set import ShardSet
from reid.dataset.built_shards import BuiltShards
from reid.dataset.cleaning import clean
from reid.dataset.inventory import find_donors, iter_statistics, listing
from reid.dataset.planning.plan_table import PlanTable, published_plans
from reid.dataset.planning.shard_plan import plan_build
from reid.dataset.planning.shard_task import TaskTable
from reid.dataset.publishing import kept_names, publish_build
from reid.dataset.recipe import Recipe, check_masks, make_recipe
from reid.dataset.report.summary import BuildWork
from reid.dataset.stages.running import Runner
from reid.errors import ConfigError, DataError, StorageError
from reid.storage.latest import name_latest


@dataclass(frozen=True)
class BuildResult:
    """A published set and what this call did for it."""

    shards: ShardSet
    built: int
    reused: int
    warnings: list[str]
    work: BuildWork = field(default_factory=BuildWork)
    """What the shards that this call built add up to."""
    cleaned: list[str] = field(default_factory=list)
    """Leftovers that were deleted."""
    notes: list[str] = field(default_factory=list)
    """What the reader took otherwise than written, or passed over."""

    @property
    def throughput(self) -> dict[str, float]:
        """Rows a second of one worker, by stage, over what this call built."""
        return self.work.throughput

    @property
    def refreshed(self) -> dict[str, dict[str, int]]:
        """Targets that were made anew and kept in shards that took their rows from earlier ones."""
        return {"made": dict(self.work.regenerated), "kept": dict(self.work.kept)}

    def lines(self) -> list[str]:
        """What was done, for a terminal."""
        return self.work.lines()


@dataclass(frozen=True)
class _BuildPlan:
    root: str
    recipe: Recipe
    plans: PlanTable
    finished: BuiltShards
    notes: list[str]

    def tasks(self, config: Config) -> TaskTable:
        """What is missing, each with the earlier shard that it can be made from."""
        missing = self.plans.take(
            np.array([place for place, key in enumerate(self.plans.keys()) if key not in self.finished], int)
        )
        if not len(missing):
            return TaskTable.of(missing, {})
        folders = storage.list_folders(shards_folder(config))
        return TaskTable.of(missing, find_donors(self.root, folders, missing, self.recipe))


def build(
    config: Config, out: Say = say, ready: Callable[[], None] = lambda: None, run: Runner | None = None
) -> BuildResult:
    """Bring the config's shard set up to date; finished shards are reused.

    Shards whose generators changed take their rows from the finished shard of the same source, in whichever
    set of the dataset it is. `ready` is called once before `run` is needed, that is, only when something is
    missing. Raises DataError when too many rows are bad; nothing is published then.
    """
    planned = _plan(config)
    plans, finished, root = planned.plans, planned.finished, planned.root
    tasks = planned.tasks(config)
    work = BuildWork()
    there = len(plans) - len(tasks)
    if len(tasks):
        total = tasks.plans.rows
        taken = f" ({tasks.given} from earlier shards)" if tasks.given else ""
        out(f"build: {len(plans)} shards, {there} already there, {total} rows to do{taken}")
        ready()
        # Below the set's folder, where workers on other machines read them.
        tasks = tasks.moved(published_plans(tasks.plans, root))
        parallel = 1 if run else shards_at_once(config, len(tasks))
        progress = Progress("build", total, out=out, parallel=parallel)
        try:
            for shard in (run or partial(run_shards, out=out))(config, root, tasks):
                finished.add(shard)
                work.add(shard)
                progress.add(shard.rows + len(shard.quarantined))
        finally:
            _delete_plans(tasks)
    try:
        manifest, warnings = publish_build(config, root, planned.recipe, plans, finished)
    except DataError:
        for note in planned.notes:  # they may say why so many rows are bad
            out(f"note: {note}")
        raise
    cleaned: list[str] = []
    if config.build.clean != "never":
        needed = {*plans.keys()} | kept_names(manifest)
        superseded = config.build.clean == "superseded"
        cleaned = clean(root, needed, superseded, config.build.clean_after_s)
    if config.data.shards is None:  # beside a place of the user's own choice nothing is written
        name_latest(root)
    return BuildResult(ShardSet.at(root), len(tasks), there, warnings, work, cleaned, planned.notes)


def describe_build(config: Config) -> dict[str, Any]:
    """What `build` would do, without doing it."""
    planned = _plan(config)
    tasks = planned.tasks(config)
    again: Counter[str] = Counter()
    for donor in tasks.donors():
        again.update(step.target.value for step in planned.recipe.steps if step.target not in donor.kept)
    return {
        "shards": planned.root,
        "planned": len(planned.plans),
        "finished": len(planned.finished),
        "from_earlier": tasks.given,
        "regenerate": dict(again),
        "stages": [[step.target.value for step in group] for group in planned.recipe.groups()],
        "rows": planned.plans.rows_by_split(),
        "notes": planned.notes,
    }


def _plan(config: Config) -> _BuildPlan:
    root, recipe = _own_root(config), make_recipe(config)
    reader = open_reader(config.data.reader, config.data.name, SensorSettings.of(config.data))
    planned = plan_build(reader, recipe.source, config.build.rows_per_shard, recipe.made)
    plans = planned.plans
    check_masks(recipe, reader, planned.masks)
    finished = BuiltShards.of(iter_statistics(root, listing(root), plans.keys()))
    return _BuildPlan(root, recipe, plans, finished, reader.notes)


def _delete_plans(tasks: TaskTable) -> None:
    """Delete the plan files of this build; one that a store does not delete now goes after a week."""
    with contextlib.suppress(StorageError), storage.tried_once():
        for uri in tasks.plans.files:
            storage.delete_file(uri)


def _own_root(config: Config) -> str:
    """The folder of the set. Raises ConfigError for one that holds other sets."""
    root = shards_uri(config)
    if config.data.shards and find_set(root) != root:
        raise ConfigError(
            f"data.shards={config.data.shards}: a folder of built sets; name another one for this set alone."
        )
    return root
