"""Equal pictures: counted within an identity, told or set aside between identities."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from reid.data.shards.manifest import RowGroup, Shard
from reid.data.shards.shard_set import ShardSet
from reid.dataset.built_shards import BuiltShards
from reid.dataset.duplicates import Duplicates, digests_of, find_duplicates
from reid.errors import DataError
from reid.modality import Modality
from tests.support.sets.builds import row
from tests.support.sets.photos import build_here, config, jpeg, photos, rows_of

Row = tuple[int, int]
"""(pid, what the picture shows)."""


def shard(rows: Sequence[Row], split: str = "train") -> Shard:
    """Statistics of a shard with these rows."""
    samples = [row(look, Modality.RGB, pid=pid, split=split).sample for pid, look in rows]
    identities = [("made", pid, 1) for pid, _ in rows]
    return Shard(
        key="k", file="k.parquet", split=split, rows=len(rows), bytes=0, sha256="", modalities={},
        row_groups=[RowGroup(rows=len(rows), identities=identities)], digests=digests_of(samples),
    )  # fmt: skip


def duplicates_of(shards: Sequence[Shard]) -> Duplicates:
    """As one comparison of all, which comparing a few at a time must not change."""
    built = BuiltShards.of(shards).collected()
    found = find_duplicates(built)
    assert find_duplicates(built, part=3) == found
    return found


def test_pictures_of_one_identity_are_counted_and_of_several_are_named_by_place() -> None:
    shards = [
        shard([(0, 1), (0, 1), (0, 1), (1, 2)]),
        shard([(2, 2), (3, 3), (4, 4)]),
        shard([(5, 4), (6, 4)]),
    ]
    found = duplicates_of(shards)
    assert found.same_identity == 2
    assert sorted(found.conflicts) == [[(0, 3), (1, 0)], [(1, 2), (2, 0), (2, 1)]]
    assert found.conflicting() == {0: [3], 1: [0, 2], 2: [0, 1]}
    assert found.counts() == {
        "same_identity": 2, "across_splits": 0, "conflicts": 2, "conflicting_rows": 5
    }  # fmt: skip


def test_an_identity_with_one_picture_in_two_splits_is_counted() -> None:
    found = duplicates_of([shard([(0, 1), (1, 2)]), shard([(0, 1)], "test")])
    assert (found.across_splits, found.same_identity, found.conflicts) == (1, 0, [])


def test_rows_without_a_captured_picture_are_equal_to_none() -> None:
    blank = Shard(
        key="k", file="k.parquet", split="train", rows=2, bytes=0, sha256="", modalities={},
        row_groups=[RowGroup(rows=2, identities=[("made", 0, 1), ("made", 1, 1)])],
        digests=digests_of([row(1).sample.__class__(row(n).sample.labels, {}) for n in (1, 2)]),
    )  # fmt: skip
    assert duplicates_of([blank]).conflicts == []


def test_equal_bytes_of_two_modalities_are_not_compared() -> None:
    a, b = row(1, Modality.RGB).sample, row(1, Modality.NIR).sample
    assert a.images[Modality.RGB].image == b.images[Modality.NIR].image
    assert digests_of([a]) != digests_of([b])


def test_shards_of_before_are_left_out() -> None:
    old = shard([(0, 1)]).model_copy(update={"digests": ""})
    assert duplicates_of([old, shard([(1, 1)])]).conflicts == []


def test_a_large_set_is_compared_as_every_pair_would_be() -> None:
    looks = np.random.default_rng(0).integers(0, 40, 120)
    rows = [(int(pid), int(look)) for pid, look in zip(np.arange(120) // 3, looks, strict=True)]
    found = duplicates_of([shard(rows[i : i + 30]) for i in range(0, 120, 30)])
    expected = {
        (i, j) for i in range(120) for j in range(i) if rows[i][1] == rows[j][1] and rows[i][0] != rows[j][0]
    }
    flat = [[30 * s + r for s, r in places] for places in found.conflicts]
    told = {(a, b) for g in flat for a in g for b in g if a > b and rows[a][0] != rows[b][0]}
    assert told == expected


@pytest.fixture
def conflicted(tmp_path: Path) -> Path:
    """2_0.jpg is 0_0.jpg; 1_1.jpg is 1_0.jpg."""
    root = photos(tmp_path / "in", bad=False)
    (root / "2_0.jpg").write_bytes((root / "0_0.jpg").read_bytes())
    (root / "1_1.jpg").write_bytes((root / "1_0.jpg").read_bytes())
    return root


def test_conflicts_are_told_and_counted_in_the_manifest(conflicted: Path, tmp_path: Path) -> None:
    result = build_here(config(conflicted, tmp_path))
    manifest = result.shards.manifest
    assert manifest.duplicates == {
        "same_identity": 1, "across_splits": 0, "conflicts": 1, "conflicting_rows": 2
    }  # fmt: skip
    line = "label conflict: the same picture is '0_0.jpg' (identity 0), '2_0.jpg' (identity 2)"
    assert line in manifest.warnings and line in result.warnings
    assert result.shards.rows("train") == 6


def test_keep_says_nothing(conflicted: Path, tmp_path: Path) -> None:
    result = build_here(config(conflicted, tmp_path, "build.duplicates=keep"))
    assert result.shards.manifest.warnings == [] and result.shards.manifest.duplicates["conflicts"] == 1
    assert not any("conflict" in w for w in result.warnings)


def served(shards: ShardSet) -> set[str]:
    """The sample ids of all files of a set, as a foreign tool finds them."""
    return {
        n
        for s in ("train", "test")
        for f in shards.files(s)
        for n in pq.read_table(f)["sample_id"].to_pylist()
    }


def test_set_aside_rows_are_served_by_no_file_and_come_back_when_the_label_is_right(
    conflicted: Path, tmp_path: Path
) -> None:
    plain = build_here(config(conflicted, tmp_path))
    aside = build_here(config(conflicted, tmp_path, "build.duplicates=quarantine"))
    assert (aside.built, aside.reused) == (0, 3), "nothing is read or generated again"
    assert served(plain.shards) - served(aside.shards) == {"0_0.jpg", "2_0.jpg"}
    rows = {r["sample_id"]: r for r in aside.shards.quarantine()}
    assert rows["0_0.jpg"]["stage"] == "duplicates"
    assert "sample '2_0.jpg' of identity 2" in rows["0_0.jpg"]["reason"]
    assert (aside.shards.manifest.quarantined, aside.shards.rows("train")) == (2, 4)
    assert aside.shards.fingerprint != plain.shards.fingerprint
    assert all(s.labels.sample_id not in rows for s in rows_of(aside.shards, "train"))
    again = build_here(config(conflicted, tmp_path, "build.duplicates=quarantine"))
    assert again.shards.manifest == aside.shards.manifest and again.built == 0
    (conflicted / "2_0.jpg").write_bytes(jpeg(4321))
    mended = build_here(config(conflicted, tmp_path, "build.duplicates=quarantine"))
    assert mended.shards.quarantine() == [] and mended.shards.rows("train") == 6


def test_the_copy_without_rows_is_no_donor(conflicted: Path, tmp_path: Path) -> None:
    build_here(config(conflicted, tmp_path, "build.duplicates=quarantine"))
    change = "build.generate.sketch.params={sigma: 4.0}"
    back = build_here(config(conflicted, tmp_path, change))
    assert back.shards.rows("train") == 6
    assert back.refreshed["kept"] == {"read": 3}


def test_rows_set_aside_count_towards_the_limit(conflicted: Path, tmp_path: Path) -> None:
    strict = config(conflicted, tmp_path, "build.duplicates=quarantine", "build.max_bad_fraction=0.2")
    with pytest.raises(DataError, match=r"2 of 9 rows are bad"):
        build_here(strict)


def test_a_shard_of_nothing_but_conflicts_is_left_out(tmp_path: Path) -> None:
    root = photos(tmp_path / "in", bad=False)
    for name in ("3_0", "3_1", "4_0"):  # all of split test
        (root / f"{name}.jpg").write_bytes(jpeg(7))
    found = build_here(config(root, tmp_path, "build.duplicates=quarantine")).shards
    assert (found.rows("test"), found.rows("train"), found.manifest.quarantined) == (0, 6, 3)


def test_the_quarantine_lists_no_row_twice(conflicted: Path, tmp_path: Path) -> None:
    with (conflicted / "list.csv").open("a", newline="") as file:
        csv.writer(file).writerow(("gone.jpg", 0, 0, "train"))
    found = build_here(config(conflicted, tmp_path, "build.duplicates=quarantine")).shards
    assert sorted(r["sample_id"] for r in found.quarantine()) == ["0_0.jpg", "2_0.jpg", "gone.jpg"]
