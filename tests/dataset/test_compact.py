"""Compacting a set: the same rows in other files, identities whole, and no work done twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.dataset.compact import compact
from pipelines.dataset.verify import verify
from reid import storage
from reid.data.shards.schema import Sample
from reid.data.shards.shard_set import ShardSet
from reid.dataset import compact as compact_module
from reid.dataset.compact import plan_compaction, write_compacted
from reid.errors import DataError
from reid.modality import Modality
from tests.support.sets.shards import make_identities, make_shards

SIZES = [3, 2, 4, 2, 9, 1]


@pytest.fixture
def shards(tmp_path: Path) -> ShardSet:
    """Six files of one identity each, row groups of at most four rows."""
    people = make_identities(SIZES, [Modality.RGB, Modality.TEXT])
    parts = [[s for s in people if s.labels.pid == pid] for pid in range(len(SIZES))]
    return make_shards(tmp_path / "old", parts, 4, counts={"train": {"rows": len(people)}})


def rows(shards: ShardSet) -> list[Sample]:
    return [s for g in shards.groups("train") for s in shards.read_group(g)]


def make(shards: ShardSet, to: Path, per_shard: int = 12, per_group: int = 6, **options: bool) -> ShardSet:
    return compact(shards, str(to), per_shard, per_group, out=lambda _: None, **options)


@pytest.mark.parametrize("per_shard", [1, 5, 12, 1000])
def test_rows_stay_as_they_are_and_identities_whole(tmp_path: Path, shards: ShardSet, per_shard: int) -> None:
    new = make(shards, tmp_path / "new", per_shard, parallel=False)
    assert rows(new) == rows(shards)
    assert new.manifest.counts == shards.manifest.counts and new.fingerprint != shards.fingerprint
    homes: dict[tuple[str, int], set[str]] = {}
    for shard in new.manifest.shards:
        assert shard.rows <= max(per_shard, 9), "only one large identity exceeds the limit"
        for group in shard.row_groups:
            for dataset, pid, _ in group.identities:
                homes.setdefault((dataset, pid), set()).add(shard.file)
    assert all(len(files) == 1 for files in homes.values()) and len(homes) == len(SIZES)
    assert verify(new, parallel=False, out=lambda _: None).sound


def test_an_identity_over_several_row_groups_stays_in_one_file(tmp_path: Path) -> None:
    people = make_identities([9, 9])
    shards = make_shards(tmp_path / "old", [people], rows_per_group=4)
    plans = plan_compaction(shards, 3, 4)
    assert [plan.rows for plan in plans] == [9, 9]


def test_what_is_finished_is_not_written_again(
    tmp_path: Path, shards: ShardSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    to = tmp_path / "new"
    plans = plan_compaction(shards, 5, 6)
    write_compacted(shards, plans[0], str(to), 6)
    written: list[str] = []
    original = compact_module.write_shard

    def counting(*given: object) -> object:
        written.append(str(given[1]))
        return original(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(compact_module, "write_shard", counting)
    new = make(shards, to, 5, parallel=False)
    assert len(written) == len(plans) - 1
    assert rows(new) == rows(shards)


def test_only_a_new_folder_or_ones_own_takes_the_result(tmp_path: Path, shards: ShardSet) -> None:
    with pytest.raises(DataError, match="not compacted in place"):
        make(shards, tmp_path / "old", parallel=False)
    make_shards(tmp_path / "other", [make_identities([1])])
    with pytest.raises(DataError, match="holds another set already"):
        make(shards, tmp_path / "other", parallel=False)
    make(shards, tmp_path / "new", parallel=False)
    make(shards, tmp_path / "new", parallel=False)


def test_a_changed_source_is_told_to_be_verified(tmp_path: Path, shards: ShardSet) -> None:
    plan = plan_compaction(shards, 5, 6)[0].model_copy(update={"rows": 99})
    with pytest.raises(DataError, match=r"jobs\.build verify"):
        write_compacted(shards, plan, str(tmp_path / "new"), 6)


def test_files_are_written_alike_on_ray(ray_session: None, tmp_path: Path, shards: ShardSet) -> None:
    here = make(shards, tmp_path / "here", parallel=False)
    there = make(shards, tmp_path / "there")
    assert [s.sha256 for s in here.manifest.shards] == [s.sha256 for s in there.manifest.shards]
    assert storage.list_files(str(tmp_path / "there" / "data"), ".parquet")
