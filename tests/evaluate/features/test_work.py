"""Worklists as tables: where each vector's parts lie, and slices by whole row groups."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import reid.evaluate.features.work as work_module
from reid.data.shards.group_samples import GroupSamples
from reid.data.shards.schema import Sample
from reid.data.shards.shard_set import ShardSet
from reid.errors import DataError
from reid.evaluate.features.table import key_codes
from reid.evaluate.features.work import EmbeddingTask, parts_of, row_of, tasks_of, work_keys, work_table
from reid.evaluate.protocols.items import QueryPart, parts_key
from reid.modality import PUBLISHED, Modality
from tests.support.models.tiny_training import make_sample, publish_samples

RGB, NIR, TIR, SKETCH, TEXT = PUBLISHED


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> ShardSet:
    """Five identities, each of two captures and a row group of its own."""
    samples = [make_sample(pid, camid) for pid in range(5) for camid in (2, 5)]
    return publish_samples(tmp_path_factory.mktemp("shards"), samples, rows_per_group=2)


@pytest.fixture
def samples(shards: ShardSet, monkeypatch: pytest.MonkeyPatch) -> GroupSamples:
    return GroupSamples(shards, ["train"])


def item(parts: dict[Modality, QueryPart], side: Any = "query") -> EmbeddingTask:
    return EmbeddingTask(parts_key(parts, side), side, parts)


def names(shards: ShardSet) -> list[str]:
    return [str(name) for name in shards.names("train")]


def test_row_groups_are_found_without_opening_them(
    shards: ShardSet, samples: GroupSamples, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = names(shards)

    def never(*_: object) -> None:
        raise AssertionError("a row group was opened")

    monkeypatch.setattr(shards, "read_group", never)
    monkeypatch.setattr(shards, "sample_ids", never)
    assert samples.groups_of(pa.array(listed)).tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert [samples.group_of(name) for name in reversed(listed)] == [4, 4, 3, 3, 2, 2, 1, 1, 0, 0]
    with pytest.raises(DataError, match="no sample 'nobody' in train"):
        samples.groups_of(pa.array([listed[0], "nobody"]))
    with pytest.raises(DataError, match="no sample 'nobody' in train"):
        samples.group_of("nobody")


def test_an_item_goes_with_its_first_part_and_knows_where_the_others_are(
    shards: ShardSet, samples: GroupSamples
) -> None:
    listed = names(shards)
    both = item({NIR: QueryPart(listed[8]), TEXT: QueryPart(listed[0], 0)})
    table = work_table([both], samples)
    assert table["group"].to_pylist() == [4]
    assert work_keys(table).tolist() == key_codes([both.key]).tolist()
    parts = parts_of(table["parts"].to_pylist()[0])
    assert parts == {NIR: (QueryPart(listed[8]), 4), TEXT: (QueryPart(listed[0], 0), 0)}
    row = row_of(both.parts, lambda m: samples.sample(parts[m][0].sample_id, parts[m][1]))
    found: list[Sample] = [samples.sample(listed[8]), samples.sample(listed[0])]
    assert row.parts[NIR].content == found[0].images[NIR].image
    assert row.parts[TEXT].content == found[1].captions[0].text


def test_tasks_are_whole_row_groups_in_order(shards: ShardSet, samples: GroupSamples) -> None:
    work = [item({RGB: QueryPart(name)}, side) for side in ("query", "gallery") for name in names(shards)]
    table = work_table(reversed(work), samples)
    assert [task["group"].to_pylist() for task in tasks_of(table, rows=6)] == [
        [0] * 4 + [1] * 4,
        [2] * 4 + [3] * 4,
        [4] * 4,
    ]
    assert [len(task) for task in tasks_of(table, rows=1)] == [4] * 5
    joined = pa.concat_tables(tasks_of(table, rows=6))
    assert sorted(joined["key"].to_pylist()) == sorted(table["key"].to_pylist())
    assert list(tasks_of(work_table([], samples), rows=3)) == []


def test_the_last_row_groups_are_kept_and_no_more(shards: ShardSet, tmp_path: Path) -> None:
    samples = GroupSamples(shards, ["train"], kept=2)
    read: list[int] = []
    plain: Callable[..., list[Sample]] = shards.read_group

    def counted(group: Any, columns: Any = None) -> list[Sample]:
        read.append(group.index)
        return plain(group, columns)

    shards.read_group = counted  # type: ignore[method-assign]
    for group in (0, 1, 0, 2, 0, 1):
        samples.read(group)
    assert read == [0, 1, 2, 1]


def test_ids_are_looked_up_a_few_times_however_many_items_there_are(
    shards: ShardSet, samples: GroupSamples, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work_module, "CHUNK", 1)
    monkeypatch.setattr(work_module, "PASSES", 2)
    asked: list[int] = []
    look_up = samples.groups_of

    def counted(ids: pa.Array) -> Any:
        asked.append(len(ids))
        return look_up(ids)

    monkeypatch.setattr(samples, "groups_of", counted)
    table = work_table([item({RGB: QueryPart(name)}) for name in names(shards)], samples)
    assert asked == [5, 5] and table["group"].to_pylist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


def test_ids_may_be_more_than_an_array_of_strings_holds(samples: GroupSamples) -> None:
    assert samples._names.type == pa.large_string()  # with 64-bit offsets: 2 GiB are too many for a test
