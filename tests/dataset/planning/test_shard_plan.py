"""Planning a build: records become shards of whole identities whose names follow from their content."""

from __future__ import annotations

import gc
import os
import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from reid.data.readers.base import Reader, Record
from reid.data.shards.schema import Labels, SampleAttribute
from reid.dataset.planning.plan_table import PlanTable, ShardPlan, published_plans
from reid.dataset.planning.record_spool import RecordSpool, sort_key
from reid.dataset.planning.record_text import packed, unpacked
from reid.dataset.planning.shard_plan import plan_shards
from reid.errors import DataError
from reid.modality import Modality


class Given(Reader):
    """A reader of given records."""

    def __init__(self, records: Sequence[Record]) -> None:
        super().__init__(None, "made")
        self._records = records

    def records(self) -> Sequence[Record]:
        return self._records

    def key(self, record: Record) -> Any:
        return [asdict(record.labels), record.captions, record.problem]


def record(pid: int, number: int = 0, split: str = "train", **labels: Any) -> Record:
    return Record(
        Labels(
            **{
                "sample_id": f"{split}/{pid}/{number}",
                "dataset": "made",
                "split": split,
                "pid": pid,
                **labels,
            }
        )
    )


def records(sizes: Sequence[int], split: str = "train") -> list[Record]:
    return [record(pid, n, split) for pid, size in enumerate(sizes) for n in range(size)]


def plan(given: Sequence[Record], rows: int = 10, recipe: Any = "recipe") -> PlanTable:
    return plan_shards(Given(given), recipe, rows)


def pids(plans: Sequence[ShardPlan]) -> list[list[int]]:
    return [sorted({r.labels.pid for r in p.records}) for p in plans]


def test_an_identity_is_never_split_over_shards() -> None:
    sizes = [4, 4, 4, 15, 3, 8, 2, 1]
    plans = plan(records(sizes))
    assert pids(plans) == [[0, 1], [2], [3], [4], [5, 6], [7]]
    assert [len(p.records) for p in plans] == [8, 4, 15, 3, 10, 1], "only the large one exceeds the target"


def test_a_shard_holds_one_split() -> None:
    plans = plan([*records([2, 2], "test"), *records([2], "train"), *records([1], "val")])
    assert [(p.split, len(p.records)) for p in plans] == [("train", 2), ("val", 1), ("test", 4)]
    assert all({r.labels.split for r in p.records} == {p.split} for p in plans)


def test_an_identity_of_two_splits_is_planned_in_both() -> None:
    plans = plan([record(7, 0, "train"), record(7, 1, "test")])
    assert [(p.split, p.records[0].labels.pid) for p in plans] == [("train", 7), ("test", 7)]


def test_every_record_is_planned_once_and_sorted_whatever_the_order() -> None:
    given = [
        record(p, n, s, camid=c)
        for s in ("test", "train")
        for p in (2, 1)
        for n, c in ((0, None), (1, 3), (2, 0))
    ]
    plans = plan(given)
    flat = [r for p in plans for r in p.records]
    assert sorted(r.labels.sample_id for r in flat) == sorted(r.labels.sample_id for r in given)
    assert [r.labels.camid for r in flat[:3]] == [None, 0, 3]
    assert flat == sorted(flat, key=lambda r: sort_key(r.labels))
    random.shuffle(given)
    assert plan(given) == plans


def test_an_unknown_split_is_planned_too_so_that_it_can_be_set_aside() -> None:
    assert [p.split for p in plan([record(0, split="dev"), record(0)])] == ["train", "dev"]


def test_a_key_changes_with_a_record_or_the_recipe_and_with_nothing_else() -> None:
    given = records([4, 4, 4, 4])
    first = [p.key for p in plan(given)]
    assert len(set(first)) == 2
    assert [p.key for p in plan(given)] == first
    assert not set(first) & {p.key for p in plan(given, recipe="other")}
    given[0] = replace(given[0], captions=("new",))
    again = [p.key for p in plan(given)]
    assert again[0] != first[0]
    assert again[1] == first[1], "the other shard is reused"


def test_a_new_identity_at_the_end_leaves_the_full_shards_alone() -> None:
    old, new = plan(records([5, 5, 5])), plan(records([5, 5, 5, 5, 5]))
    assert new[0].key == old[0].key


def test_a_sample_id_that_occurs_again_is_marked_and_the_first_is_kept() -> None:
    twice = [record(0), replace(record(0), captions=("other",)), record(0)]
    problems = [r.problem for p in plan([*twice, record(1)]) for r in p.records]
    assert problems.count(None) == 2
    assert [p for p in problems if p] == ["sample id 'train/0/0' occurs more than once; make ids unique."] * 2
    assert problems[0] is None


def test_what_the_reader_knows_to_be_bad_stays_marked() -> None:
    bad = replace(record(0), problem="no such file")
    assert [r.problem for p in plan([record(0), bad]) for r in p.records] == [None, "no such file"]


def test_nothing_to_read_is_an_error_that_names_the_field() -> None:
    with pytest.raises(DataError, match=r"data\.reader: made has no records"):
        plan([])


@pytest.mark.parametrize("part", [1, 7, 40])
def test_records_that_do_not_fit_into_memory_are_planned_alike(tmp_path: Path, part: int) -> None:
    given = [
        *(
            record(pid, n, split, dataset=name, camid=n % 3)
            for split in ("test", "train", "dev") for name in "ba" for pid in (5, 2, 9) for n in range(4)
        ),
        record(5, 1, "train", dataset="b"),
    ]  # fmt: skip
    random.Random(0).shuffle(given)
    spools = [RecordSpool(tmp_path / str(size), size) for size in (part, 1000)]
    for spool in spools:
        spool.folder.mkdir()
        spool.add(given)
    ordered = (r for shard in spools[0].shards(4) for r in shard.records())
    whole = [r for shard in spools[1].shards(1000) for r in shard.records()]
    found = [next(ordered)]
    assert not (spools[0].folder / "records.arrow").exists(), "they lie in the parts, and nowhere else"
    found += ordered
    assert found == whole and len(found) == len(given)
    assert sum(r.problem is not None for r in found) == 36 + 1, "ids occur in both data sets"


def test_a_record_on_disk_is_the_record() -> None:
    labels = Labels("", "made", "train", 0, roles=(), camid=0, location="", extra={"a": "b"})
    for one in (
        Record(labels),
        Record(
            replace(labels, roles=("query",)), {Modality.RGB: "a.jpg"}, ("x",), "bad", "m.png", {"row": [1]}
        ),
        Record(replace(labels, sample_id="half of a pair \udc80", timestamp=float("inf"))),
        Record(replace(labels, attributes=(SampleAttribute("hat", "red", 0.5, "person"),))),
    ):
        assert unpacked(packed(one)) == one


def test_plan_files_go_with_the_plans() -> None:
    plans = plan(records([2, 2]))
    folder = Path(plans[0].place.uri).parent
    assert folder.is_dir()
    del plans
    gc.collect()
    assert not folder.exists()


def test_a_plan_deletes_folders_that_killed_ones_left_days_ago(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name, days in (("anyreid-plan-old", 8), ("anyreid-plan-young", 6), ("others-old", 8)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "records.arrow").write_bytes(b"")
        os.utime(tmp_path / name, (time.time() - days * 86400,) * 2)
    plans = plan(records([2]))
    own = Path(plans[0].place.uri).parent.name
    assert {p.name for p in tmp_path.iterdir()} == {"anyreid-plan-young", "others-old", own}


def test_plans_are_a_table_of_which_any_part_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reid.dataset.planning.plan_table._BATCH", 2)
    monkeypatch.setattr("reid.dataset.planning.plan_files._SHARDS", 2)
    table = plan([*records([9] * 5), *records([8], "test")])
    plans = [*table]
    assert [p.rows for p in plans] == [9, 9, 9, 9, 9, 8] and len(table.files) == 3
    assert [table[place] for place in range(-6, 6)] == plans * 2
    assert [*table[1:5:2]] == plans[1:5:2] and [*table.keys()] == [p.key for p in plans]
    assert table.rows_by_split() == {"train": 45, "test": 8}
    with pytest.raises(IndexError):
        table[6]
    copied = published_plans(table[3:], str(tmp_path))
    assert len(list((tmp_path / "plan").iterdir())) == len(copied.files) == 2
    assert [p.records for p in copied] == [p.records for p in plans[3:]]
    assert len(plan(records([1]))[:0]) == 0


def test_a_plan_keeps_the_files_of_its_records() -> None:
    (one,) = plan(records([2]))
    gc.collect()
    assert isinstance(one, ShardPlan) and len(one.records) == 2


def test_records_that_come_as_columns_are_planned_as_those_that_come_one_by_one(tmp_path: Path) -> None:
    given = [record(pid, n, camid=3 - n if n else None) for pid in (2, 0, 1) for n in range(3)]
    spools = [RecordSpool(tmp_path / name, 4) for name in ("one", "columns")]
    for spool in spools:
        spool.folder.mkdir()
    spools[0].add(given)
    for some in (given[:5], given[5:]):
        spools[1].add_columns(
            "train",
            "made",
            pa.array([r.labels.pid for r in some]),
            pa.array([-1 if r.labels.camid is None else r.labels.camid for r in some]),
            pa.array([r.labels.sample_id for r in some]),
            pa.array([packed(r) for r in some]),
        )
    one, columns = ([(s.split, s.records()) for s in spool.shards(6)] for spool in spools)
    assert one == columns and [len(found) for _, found in one] == [6, 3]


def test_shards_of_unknown_splits_hold_one_split_each() -> None:
    given = [record(pid, n, split) for pid in (0, 1) for n in range(2) for split in ("dev", "old", "train")]
    assert [(p.split, p.rows) for p in plan(given)] == [("train", 4), ("dev", 4), ("old", 4)]
