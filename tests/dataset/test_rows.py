"""Rows between two processes arrive as they left."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from reid.data.shards.manifest import MadeBy, Shard
from reid.data.shards.schema import Caption, Mask, SampleAttribute
from reid.dataset.planning.plan_files import PlanSlice
from reid.dataset.planning.plan_table import PlanTable, ShardPlan
from reid.dataset.planning.shard_task import Donor, ShardTask, TaskTable
from reid.dataset.rows import BuildRow, ShardRows, StageTimes, pack, unpack
from reid.modality import Modality, Target
from tests.support.sets.builds import row


def full() -> BuildRow:
    """A row with everything that a row can have."""
    given = row(1, Modality.RGB, Modality.TIR, mask=True, camid=3, roles=("query",), timestamp=0.1)
    labels = replace(
        given.sample.labels, attributes=(SampleAttribute("hat", "no", 0.5, "me"),), extra={"k": "v", "ü": "…"}
    )
    sample = replace(
        given.sample,
        labels=labels,
        captions=(Caption("one", 0.25, "generated", "g", "p", "s"), Caption("two")),
        mask=Mask(b"\x00png\xff", None, "generated", "m", "p", "s"),
    )
    return replace(given, sample=sample, files=("a b.jpg", "c.png"), kept=frozenset({Target.MASK}))


def test_shards_come_back_row_by_row_with_their_clocks() -> None:
    bad = BuildRow(replace(row(2).sample, images={}, content_hash=None)).refused("read", "why\nnot")
    work = [
        ShardRows(
            "aaa", "aaa-bbb", [full(), bad], StageTimes({"read": 0.5}, {"read": 2}), "donor", (Target.TEXT,)
        ),
        ShardRows("ccc", "ccc-bbb", [row(3)]),
    ]
    assert unpack(pack(work)) == work


def test_shards_with_more_bytes_than_a_column_holds_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    size = len(row(1).sample.images[Modality.RGB].image)
    monkeypatch.setattr("reid.dataset.rows._CHUNK", 2 * size + 9)
    work = [ShardRows("a", "a-b", [row(n) for n in range(5)]), ShardRows("c", "c-d", [row(9)])]
    table = pack(work)
    assert table["rgb"].num_chunks == 4
    assert unpack(table) == work


def test_a_task_comes_back_with_its_donor() -> None:
    aside = {"sample_id": "y", "stage": "read", "reason": "no", "files": []}
    made = {"sketch": MadeBy(key="k", generator="g", params_hash="p")}
    shard = Shard(
        key="aaa-ccc", file="aaa-ccc.parquet", split="train", rows=1, bytes=10, sha256="0", row_groups=[],
        modalities={}, quarantined=[aside], source_key="aaa", made=made,
    )  # fmt: skip
    other = ShardPlan("ddd", "bbb", "train", 2, PlanSlice("s3://b/plan", 8))
    task = ShardTask(
        ShardPlan("aaa", "bbb", "train", 1, PlanSlice("s3://b/plan", 7)),
        Donor("s3://b/d", shard, (Target.NIR,)),
    )
    assert ShardTask.from_json(task.to_json()) == task
    assert ShardTask.from_json(task.to_json()).plan.place == task.plan.place
    alone = replace(task, donor=None)
    assert ShardTask.from_json(alone.to_json()) == alone
    assert task.donor is not None
    table = TaskTable.of(PlanTable.of([task.plan, other]), {"aaa": json.dumps(task.donor.tree())})
    assert [*table] == [table[0], table[1]] == [task, ShardTask(other)]
    assert [*table.donors()] == [task.donor] and table.given == 1
