"""Build: raw samples -> generated modalities -> a published shard set.

Planning, finding what is there, and publishing are `reid.dataset`; the work on the shards that are missing
runs on Ray Data (`pipelines.dataset.stages`). A shard is finished when its statistics file exists; the
manifest publishes all of them at once, so that a build that was killed anywhere goes on where it was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from pipelines.dataset.stages import run_shards
from pipelines.progress import Progress, Say, say
from reid import storage
from reid.config import Config
from reid.config.addresses import shards_folder, shards_uri
from reid.data.images import SensorSettings
from reid.data.readers.base import open_reader
from reid.data.shards.manifest import Shard
from reid.data.shards.places import find_set
from reid.data.shards.shard_set import ShardSet
from reid.dataset.cleaning import clean
from reid.dataset.inventory import find_donors, listing, read_statistics
from reid.dataset.publishing import publish_build
from reid.dataset.recipe import Recipe, check_masks, make_recipe
from reid.dataset.report.summary import refreshed, refreshed_line, throughput, throughput_line
from reid.dataset.shard_plan import ShardPlan, plan_shards
from reid.dataset.shard_task import ShardTask
from reid.dataset.stages.running import Runner
from reid.errors import ConfigError, DataError
from reid.storage.latest import name_latest


@dataclass(frozen=True)
class BuildResult:
    """A published set and what this call did for it."""

    shards: ShardSet
    built: int
    reused: int
    warnings: list[str]
    made: list[Shard] = field(default_factory=list)
    """The statistics of the shards that this call built."""
    cleaned: list[str] = field(default_factory=list)
    """Leftovers that were deleted."""
    notes: list[str] = field(default_factory=list)
    """What the reader took otherwise than written, or passed over."""

    @property
    def throughput(self) -> dict[str, float]:
        """Rows a second of one worker, by stage, over what this call built."""
        return throughput(self.made)

    @property
    def refreshed(self) -> dict[str, dict[str, int]]:
        """Targets that were made anew and kept in shards that took their rows from earlier ones."""
        return {name: dict(counts) for name, counts in refreshed(self.made).items()}

    def lines(self) -> list[str]:
        """What was done, for a terminal."""
        return [line for line in (refreshed_line(self.made), throughput_line(self.throughput)) if line]


@dataclass(frozen=True)
class _BuildPlan:
    root: str
    recipe: Recipe
    plans: list[ShardPlan]
    finished: dict[str, Shard]
    notes: list[str]

    def tasks(self, config: Config) -> list[ShardTask]:
        """What is missing, each with the earlier shard that it can be made from."""
        missing = [plan for plan in self.plans if plan.key not in self.finished]
        if not missing:
            return []
        folders = storage.list_folders(shards_folder(config))
        donors = find_donors(self.root, folders, missing, self.recipe)
        return [ShardTask(plan, donors.get(plan.key)) for plan in missing]


def build(
    config: Config, out: Say = say, ready: Callable[[], None] = lambda: None, run: Runner | None = None
) -> BuildResult:
    """Bring the config's shard set up to date; finished shards are reused.

    Shards whose generators changed take their rows from the finished shard of the same source, in whichever
    set of the dataset it is. `ready` is called once before `run` is needed, that is, only when something is
    missing. Raises DataError when too many rows are bad; nothing is published then.
    """
    planned = _plan(config)
    plans, finished, root = planned.plans, dict(planned.finished), planned.root
    tasks, made = planned.tasks(config), []
    there = len(plans) - len(tasks)
    if tasks:
        total = sum(len(task.plan.records) for task in tasks)
        given = sum(task.donor is not None for task in tasks)
        taken = f" ({given} from earlier shards)" if given else ""
        out(f"build: {len(plans)} shards, {there} already there, {total} rows to do{taken}")
        ready()
        progress = Progress("build", total, out=out)
        for shard in (run or partial(run_shards, out=out))(config, root, tasks):
            finished[shard.key] = shard
            made.append(shard)
            progress.add(shard.rows + len(shard.quarantined))
    shards = [finished[plan.key] for plan in plans]
    try:
        manifest, warnings = publish_build(config, root, planned.recipe, plans, shards)
    except DataError:
        for note in planned.notes:  # they may say why so many rows are bad
            out(f"note: {note}")
        raise
    cleaned: list[str] = []
    if config.build.clean != "never":
        needed = {plan.key for plan in plans} | {shard.key for shard in manifest.shards}
        superseded = config.build.clean == "superseded"
        cleaned = clean(root, needed, superseded, config.build.clean_after_s)
    if config.data.shards is None:  # beside a place of the user's own choice nothing is written
        name_latest(root)
    return BuildResult(ShardSet.at(root), len(tasks), there, warnings, made, cleaned, planned.notes)


def describe_build(config: Config) -> dict[str, Any]:
    """What `build` would do, without doing it."""
    planned = _plan(config)
    tasks = planned.tasks(config)
    again: Counter[str] = Counter()
    for task in tasks:
        if task.donor is not None:
            again.update(s.target.value for s in planned.recipe.steps if s.target not in task.donor.kept)
    return {
        "shards": planned.root,
        "planned": len(planned.plans),
        "finished": len(planned.finished),
        "from_earlier": sum(task.donor is not None for task in tasks),
        "regenerate": dict(again),
        "stages": [[step.target.value for step in group] for group in planned.recipe.groups()],
        "rows": dict(Counter(plan.split for plan in planned.plans for _ in plan.records)),
        "notes": planned.notes,
    }


def _plan(config: Config) -> _BuildPlan:
    root, recipe = _own_root(config), make_recipe(config)
    reader = open_reader(config.data.reader, config.data.name, SensorSettings.of(config.data))
    plans = plan_shards(reader, recipe.source, config.build.rows_per_shard, recipe.made)
    check_masks(recipe, reader, (record for plan in plans for record in plan.records))
    finished = read_statistics(root, listing(root), [plan.key for plan in plans])
    return _BuildPlan(root, recipe, plans, finished, reader.notes)


def _own_root(config: Config) -> str:
    """The folder of the set. Raises ConfigError for one that holds other sets."""
    root = shards_uri(config)
    if config.data.shards and find_set(root) != root:
        raise ConfigError(
            f"data.shards={config.data.shards}: a folder of built sets; name another one for this set alone."
        )
    return root
