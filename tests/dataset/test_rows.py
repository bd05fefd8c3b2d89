"""Rows between two processes arrive as they left."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reid.data.readers.base import Record
from reid.data.shards.manifest import MadeBy, Shard
from reid.data.shards.schema import Caption, Labels, Mask, SampleAttribute
from reid.dataset.rows import BuildRow, ShardRows, StageTimes, pack, record_json, record_of, unpack
from reid.dataset.shard_plan import ShardPlan
from reid.dataset.shard_task import Donor, ShardTask
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


def test_a_task_comes_back_with_its_records_and_its_donor() -> None:
    record = Record(
        Labels(
            "x",
            "made",
            "train",
            4,
            ("gallery",),
            1,
            attributes=(SampleAttribute("hat", "no"),),
            extra={"a": "b"},
        ),
        {Modality.RGB: "s3://b/x.jpg"},
        ("a caption",),
        None,
        "m.png",
        {"row": 3},
    )
    assert record_of(record_json(record)) == record
    aside = {"sample_id": "y", "stage": "read", "reason": "no", "files": []}
    made = {"sketch": MadeBy(key="k", generator="g", params_hash="p")}
    shard = Shard(
        key="aaa-ccc", file="aaa-ccc.parquet", split="train", rows=1, bytes=10, sha256="0", row_groups=[],
        modalities={}, quarantined=[aside], source_key="aaa", made=made,
    )  # fmt: skip
    task = ShardTask(ShardPlan("aaa", "bbb", "train", (record,)), Donor("s3://b/d", shard, (Target.NIR,)))
    assert ShardTask.from_json(task.to_json()) == task
    alone = replace(task, donor=None)
    assert ShardTask.from_json(alone.to_json()) == alone
