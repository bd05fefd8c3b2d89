"""What lies in a folder and cannot be read, or is not meant: set aside with its reason, or told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reid.errors import DataError
from tests.support.sets.folder_trees import labels, put, read, reader


def test_a_link_that_leads_nowhere_is_a_row_that_says_so(tmp_path: Path) -> None:
    put(tmp_path, "1/a.jpg", "2/a.jpg")
    (tmp_path / "2/b.jpg").symlink_to("/not/here/any/more.jpg")
    records, notes = read(tmp_path)
    assert (set(labels(records)), notes) == ({"1/a", "2/a"}, [])
    problem = records["2/b.jpg"].problem or ""
    assert "2/b.jpg: a link that leads nowhere; restore what it points to" in problem
    with pytest.raises(DataError, match="leads nowhere"):
        reader(tmp_path).load(records["2/b.jpg"], 1_000_000)


def test_a_name_that_is_not_utf8_is_a_row_that_can_be_written_down(tmp_path: Path) -> None:
    put(tmp_path, "1/a.jpg", "2/a.jpg")
    os.rename(tmp_path / "2/a.jpg", os.fsencode(tmp_path) + b"/2/stra\xdfe.jpg")
    records, _ = read(tmp_path)
    assert set(labels(records)) == {"1/a"}
    name, problem = r"2/stra\xdfe.jpg", records[r"2/stra\xdfe.jpg"].problem or ""
    assert name.encode() and problem.encode()
    assert "the name is not UTF-8; rename it" in problem


def test_links_that_all_lead_nowhere_are_the_reason_not_nothing(tmp_path: Path) -> None:
    """A set whose contents were not fetched (git-annex, DVC)."""
    (tmp_path / "1").mkdir()
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / "1" / name).symlink_to(f"../.git/annex/objects/{name}")
    with pytest.raises(DataError, match=r"cannot be read: 2; first: .*1/a\.jpg: a link that leads nowhere"):
        read(tmp_path)


def test_a_link_to_another_identity_makes_no_second_one(tmp_path: Path) -> None:
    put(tmp_path, "1/a.jpg", "2/a.jpg")
    (tmp_path / "3").symlink_to("2")
    (tmp_path / "1/other.jpg").symlink_to("../2/a.jpg")
    records, notes = read(tmp_path)
    assert set(records) == {"1/a", "2/a"}
    assert notes == ["left out links to what is read under its own name: 2 (1/other.jpg, 3)."]


def test_a_query_may_be_a_link_to_the_gallery(tmp_path: Path) -> None:
    """Splits are walked one by one: copies are kept by the published sets too, and protocols know them."""
    put(tmp_path, "gallery/1/a.jpg", "gallery/2/a.jpg", "train/7/a.jpg")
    (tmp_path / "query/1").mkdir(parents=True)
    (tmp_path / "query/1/a.jpg").symlink_to("../../gallery/1/a.jpg")
    records, notes = read(tmp_path)
    assert records["query/1/a"].labels.roles == ("query",)
    assert (len(labels(records)), notes) == (4, [])


def test_folders_of_systems_are_no_identities(tmp_path: Path) -> None:
    put(
        tmp_path,
        "1/a.jpg",
        "2/a.jpg",
        "@eaDir/a.jpg/thumb.jpg",
        "1/@eaDir/a.jpg/thumb.jpg",
        "#recycle/x/a.jpg",
    )
    records, notes = read(tmp_path)
    assert set(records) == {"1/a", "2/a"}
    assert notes == ["left out hidden or made by the system: 3 (@eaDir 2, #recycle)."]


def test_splits_beside_what_a_system_left_are_splits_all_the_same(tmp_path: Path) -> None:
    put(tmp_path, "train/1/a.jpg", "test/2/a.jpg", "lost+found/a.jpg", "System Volume Information/x/a.jpg")
    assert {split for _, split, _ in labels(read(tmp_path)[0]).values()} == {"train", "test"}


def test_parallel_folders_below_a_split_are_no_identities(tmp_path: Path) -> None:
    put(tmp_path, "train/imgs/1/a.jpg", "train/masks/1/a.png", "test/1/a.jpg", "test/2/a.jpg")
    records, _ = read(tmp_path)
    assert set(labels(records)) == {"test/1/a", "test/2/a"}
    problem = records["train/imgs/1/a.jpg"].problem or ""
    assert "imgs is no identity but a folder of parallel pictures" in problem
    assert "masks is no identity" in (records["train/masks/1/a.png"].problem or "")


def test_masks_and_small_copies_within_identities_are_told(tmp_path: Path) -> None:
    put(tmp_path, "1/a.jpg", "1/Masks/a.png", "2/a.jpg", "2/thumbs/a.jpg", "2/thumbs/b.jpg", "2/street/c.jpg")
    records, (note,) = read(tmp_path)
    assert len(labels(records)) == 6
    assert note.startswith("Pictures in these folders are read as captures: masks (1), thumbs (2); move them")


def test_identity_folders_without_pictures_are_told(tmp_path: Path) -> None:
    put(tmp_path, "train/1/a.jpg", "train/2/a.jpg", "test/3/a.jpg", "test/4/a.jpg")
    (tmp_path / "train/5").mkdir()
    (tmp_path / "test/6/nir").mkdir(parents=True)
    (tmp_path / "test/7/nir").mkdir(parents=True)
    (tmp_path / "test/7/nir/a.jpg").symlink_to("/not/here.jpg")
    _, notes = read(tmp_path)
    assert notes == ["Identity folders without a picture: test/6, train/5; fill or remove them"]
