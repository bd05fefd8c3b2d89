"""Planning a build: records become shards of whole identities whose names follow from their content."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import pytest

from reid.data.readers.base import Reader, Record
from reid.data.shards.schema import Labels
from reid.dataset.shard_plan import ShardPlan, plan_shards, sort_key
from reid.errors import DataError


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
    return Record(Labels(f"{split}/{pid}/{number}", "made", split, pid, **labels))


def records(sizes: Sequence[int], split: str = "train") -> list[Record]:
    return [record(pid, n, split) for pid, size in enumerate(sizes) for n in range(size)]


def plan(given: Sequence[Record], rows: int = 10, recipe: Any = "recipe") -> list[ShardPlan]:
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
