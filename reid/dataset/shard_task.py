"""One shard to make: its records, and the earlier shard whose rows are used instead of reading them."""

from __future__ import annotations

import json
from dataclasses import dataclass

from reid.data.shards.manifest import Shard
from reid.dataset.rows import record_json, record_of
from reid.dataset.shard_plan import ShardPlan
from reid.modality import Target


@dataclass(frozen=True)
class Donor:
    """A finished shard of the same source, made by other generators."""

    uri: str
    shard: Shard
    kept: tuple[Target, ...]
    """Targets that are taken over as they are."""


@dataclass(frozen=True)
class ShardTask:
    """A shard that does not exist yet."""

    plan: ShardPlan
    donor: Donor | None = None

    def to_json(self) -> str:
        """For another process."""
        plan, donor = self.plan, self.donor
        return json.dumps(
            {
                "plan": {**vars(plan), "records": [record_json(r) for r in plan.records]},
                "donor": donor
                and {
                    "uri": donor.uri,
                    "shard": donor.shard.model_dump(mode="json", exclude={"digests", "row_groups"}),
                    "kept": donor.kept,
                },
            }
        )

    @classmethod
    def from_json(cls, text: str) -> ShardTask:
        """The inverse of `to_json`; the donor's row groups are left out."""
        tree = json.loads(text)
        records = tuple(record_of(r) for r in tree["plan"]["records"])
        plan = ShardPlan(**{**tree["plan"], "records": records})
        if tree["donor"] is None:
            return cls(plan)
        shard = Shard.model_validate({**tree["donor"]["shard"], "row_groups": []})
        return cls(plan, Donor(tree["donor"]["uri"], shard, tuple(Target(t) for t in tree["donor"]["kept"])))
