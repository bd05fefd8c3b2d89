"""One shard to make: where its records are, and the earlier shard whose rows are used instead of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

import pyarrow as pa
import pyarrow.compute as pc

from reid.data.shards.manifest import Shard
from reid.dataset.planning.plan_files import PlanSlice
from reid.dataset.planning.plan_table import PlanTable, ShardPlan
from reid.modality import Target

_PLAN = ("source_key", "made_key", "split", "rows")
_BATCH = 1024


@dataclass(frozen=True)
class Donor:
    """A finished shard of the same source, made by other generators."""

    uri: str
    shard: Shard
    kept: tuple[Target, ...]
    """Targets that are taken over as they are."""

    def tree(self) -> dict[str, Any]:
        """JSON-able, without the shard's row groups and digests."""
        shard = self.shard.model_dump(mode="json", exclude={"digests", "row_groups"})
        return {"uri": self.uri, "shard": shard, "kept": self.kept}

    @classmethod
    def from_tree(cls, tree: Mapping[str, Any]) -> Donor:
        """The inverse of `tree`."""
        shard = Shard.model_validate({**tree["shard"], "row_groups": []})
        return cls(tree["uri"], shard, tuple(Target(t) for t in tree["kept"]))


@dataclass(frozen=True)
class ShardTask:
    """A shard that does not exist yet."""

    plan: ShardPlan
    donor: Donor | None = None

    def to_json(self) -> str:
        """For another process."""
        plan, donor = self.plan, self.donor
        named = {name: getattr(plan, name) for name in _PLAN} | {"place": vars(plan.place)}
        return json.dumps({"plan": named, "donor": donor and donor.tree()})

    @classmethod
    def from_json(cls, text: str) -> ShardTask:
        """The inverse of `to_json`; the donor's row groups are left out."""
        tree = json.loads(text)
        plan = ShardPlan(**{**tree["plan"], "place": PlanSlice(**tree["plan"]["place"])})
        return cls(plan, tree["donor"] and Donor.from_tree(tree["donor"]))


class TaskTable(Sequence[ShardTask]):
    """Tasks in order, kept as columns; a task is made when it is its turn.

    Args:
        plans: the shards to make.
        donors: the JSON of the `tree` of each one's donor, or null.
    """

    def __init__(self, plans: PlanTable, donors: pa.LargeStringArray) -> None:
        self.plans, self._donors = plans, donors

    @classmethod
    def of(cls, plans: PlanTable, donors: Mapping[str, str]) -> TaskTable:
        """Tasks for these plans; `donors`: source key -> the JSON of its donor's `tree`."""
        return cls(plans, pa.array([donors.get(source) for source in plans.sources()], pa.large_string()))

    def __len__(self) -> int:
        return len(self.plans)

    @overload
    def __getitem__(self, index: int) -> ShardTask: ...
    @overload
    def __getitem__(self, index: slice) -> list[ShardTask]: ...
    def __getitem__(self, index: int | slice) -> ShardTask | list[ShardTask]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        return _task(self.plans[index], self._donors[index].as_py())

    def __iter__(self) -> Iterator[ShardTask]:
        plans = iter(self.plans)
        for start in range(0, len(self), _BATCH):
            texts = self._donors.slice(start, _BATCH).to_pylist()
            yield from map(_task, (next(plans) for _ in texts), texts)

    def __repr__(self) -> str:
        return f"<{len(self)} shards to make, {self.given} of them from earlier ones>"

    @property
    def given(self) -> int:
        """Tasks that have a donor."""
        return len(self) - int(self._donors.null_count)

    def donors(self) -> Iterator[Donor]:
        """Those of the tasks that have one."""
        for start in range(0, len(self), _BATCH):
            texts = pc.drop_null(self._donors.slice(start, _BATCH)).to_pylist()
            yield from (Donor.from_tree(json.loads(text)) for text in texts)

    def moved(self, plans: PlanTable) -> TaskTable:
        """The same tasks with these plans, one for each: their records lie elsewhere."""
        return TaskTable(plans, self._donors)


def _task(plan: ShardPlan, donor: str | None) -> ShardTask:
    return ShardTask(plan, None if donor is None else Donor.from_tree(json.loads(donor)))
