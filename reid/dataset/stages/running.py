"""Runs shards through all stages in this process, one after the other.

The kill tests and the benchmark use it; Ray's workers run the same parts (`Stages`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from reid.config import Config
from reid.data.images import SensorSettings
from reid.data.readers.base import Reader, open_reader
from reid.data.shards.manifest import Shard
from reid.dataset.planning.shard_task import ShardTask
from reid.dataset.recipe import Recipe, make_recipe
from reid.dataset.rows import ShardRows
from reid.dataset.stages.generation import DeviceOf, Generation, cpu_only
from reid.dataset.stages.reading import read_shard
from reid.dataset.stages.writing import write_work
from reid.modality import Target

Runner = Callable[[Config, str, Sequence[ShardTask]], Iterator[Shard]]
"""Makes shards: (config, root, tasks) -> each shard as it is finished, in any order."""


class Stages:
    """The stages of one build in one process; generators are loaded when they are first needed."""

    def __init__(self, config: Config, root: str, device: DeviceOf) -> None:
        self.config, self.root, self.device = config, root, device
        self.recipe: Recipe = make_recipe(config)
        self._reader: Reader | None = None
        self._generations: dict[tuple[Target, ...], Generation] = {}

    def read(self, task: ShardTask) -> ShardRows:
        """A task's rows."""
        if self._reader is None:
            data = self.config.data
            self._reader = open_reader(data.reader, data.name, SensorSettings.of(data))
        return read_shard(task, self._reader, self.config.build.max_pixels)

    def generate(self, work: ShardRows, targets: tuple[Target, ...]) -> ShardRows:
        """Rows with these targets made."""
        work.rows[:] = self.load(targets)(work.rows, work.clock)
        return work

    def load(self, targets: tuple[Target, ...]) -> Generation:
        """The generators of these targets."""
        if targets not in self._generations:
            steps = [self.recipe.by_target[t] for t in targets]
            build = self.config.build
            self._generations[targets] = Generation(steps, build.seed, build.captions, self.device)
        return self._generations[targets]

    def write(self, work: ShardRows) -> Shard:
        """The finished shard."""
        return write_work(work, self.root, self.config.build.rows_per_group, self.recipe)


def run_here(config: Config, root: str, tasks: Sequence[ShardTask]) -> Iterator[Shard]:
    """A Runner without Ray: one shard after the other, on the CPU."""
    stages = Stages(config, root, cpu_only)
    groups = [tuple(step.target for step in group) for group in stages.recipe.groups()]
    for task in tasks:
        work = stages.read(task)
        for targets in groups:
            work = stages.generate(work, targets)
        yield stages.write(work)
