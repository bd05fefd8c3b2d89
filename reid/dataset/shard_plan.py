"""Plans shards from labels alone: records become plans of whole identities, named by their content."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from reid.config import fingerprint
from reid.data.labels import tidy
from reid.data.readers.base import Reader, Record
from reid.data.shards.schema import SPLITS, Labels
from reid.errors import DataError


@dataclass(frozen=True)
class ShardPlan:
    """The records of one shard, and the two names of its content."""

    source_key: str
    """Changes when a record, its files or what reads them does."""
    made_key: str
    """Changes when what is made of them does."""
    split: str
    records: tuple[Record, ...]

    @property
    def key(self) -> str:
        """Names the shard. Shards of one source lie side by side in a listing."""
        return f"{self.source_key}-{self.made_key}"


def sort_key(labels: Labels) -> tuple[int, str, int, int, str]:
    """Split, identity, camera, sample: the order of rows in a set."""
    split = SPLITS.index(labels.split) if labels.split in SPLITS else len(SPLITS)
    camid = -1 if labels.camid is None else labels.camid
    return split, labels.dataset, labels.pid, camid, labels.sample_id


def plan_shards(reader: Reader, source: Any, rows_per_shard: int, made: Any = None) -> list[ShardPlan]:
    """Divide the reader's records into shards of about `rows_per_shard` rows; an identity is never split.

    `source` and `made` are JSON-able: what reading depends on besides the records, and what is generated. A
    sample id that occurs again is marked as a problem. Raises DataError when there are no records.
    """
    records = _mark_duplicates(reader.records())
    if not records:
        raise DataError(f"data.reader: {reader.dataset} has no records; check the path and the layout.")
    ordered = sorted(records, key=lambda r: sort_key(r.labels))
    plans: list[list[Record]] = []
    sizes = Counter((r.labels.split, r.labels.dataset, r.labels.pid) for r in ordered)
    previous: tuple[str, str, int] | None = None
    for record in ordered:
        identity = (record.labels.split, record.labels.dataset, record.labels.pid)
        if identity != previous:
            split_changed = previous is None or identity[0] != previous[0]
            if split_changed or len(plans[-1]) + sizes[identity] > rows_per_shard:
                plans.append([])
        plans[-1].append(record)
        previous = identity
    made_key = fingerprint(made)
    return [
        ShardPlan(
            source_key=fingerprint([reader.key(r) for r in records], source),
            made_key=made_key,
            split=records[0].labels.split,
            records=tuple(records),
        )
        for records in plans
    ]


def _mark_duplicates(records: Sequence[Record]) -> list[Record]:
    seen: set[str] = set()
    marked = []
    for record in records:
        name = tidy(record.labels.sample_id)  # as the gallery will call it
        if name in seen and record.problem is None:
            record = replace(
                record,
                problem=f"sample id {record.labels.sample_id!r} occurs more than once; make ids unique.",
            )
        seen.add(name)
        marked.append(record)
    return marked
