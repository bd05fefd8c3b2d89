"""Identities from the names of files or from deeper folders, by a pattern."""

from __future__ import annotations

from pathlib import Path

import pytest

from reid.errors import ConfigError, DataError
from tests.support.sets.folder_trees import labels, put, read, reader

NAMES = "([^/_]+)_[^/]*$"


def test_pictures_of_one_folder_are_told_apart_by_their_names(tmp_path: Path) -> None:
    put(tmp_path, "0007_c1_a.jpg", "0007_c2_b.jpg", "0012_c1_c.jpg")
    found = labels(read(tmp_path, identity_pattern=NAMES, camera_pattern="_c([0-9])", test_fraction=0)[0])
    assert found == {
        "0007_c1_a": ("7", "train", 1),
        "0007_c2_b": ("7", "train", 2),
        "0012_c1_c": ("12", "train", 1),
    }


def test_folders_above_may_be_cameras_and_splits(tmp_path: Path) -> None:
    put(tmp_path, "train/cam1/anna_1.jpg", "train/cam2/anna_1.jpg", "test/cam2/ben_1.jpg")
    found = labels(read(tmp_path, identity_pattern=NAMES, camera_pattern="/cam([0-9]+)/")[0])
    assert found == {
        "train/cam1/anna_1": ("anna", "train", 1),
        "train/cam2/anna_1": ("anna", "train", 2),
        "test/cam2/ben_1": ("ben", "test", 2),
    }


def test_a_folder_of_a_modality_above_the_identity_joins_its_pictures(tmp_path: Path) -> None:
    put(tmp_path, "VIS/anna/1.png", "LWIR/anna/1.png", "VIS/ben/1.png")
    records, _ = read(tmp_path, identity_pattern="^[^/]+/([^/]+)/")
    assert {name: [m.value for m in r.images] for name, r in records.items()} == {
        "anna/1": ["rgb", "tir"],
        "ben/1": ["rgb"],
    }


def test_the_pattern_sees_paths_below_imgs(tmp_path: Path) -> None:
    put(tmp_path, "imgs/women/anna/1.jpg", "imgs/men/ben/1.jpg", "imgs-nir/women/anna/1.png")
    records, _ = read(tmp_path, identity_pattern="^[^/]+/([^/]+)/")
    assert {i for i, *_ in labels(records).values()} == {"anna", "ben"}
    assert [m.value for m in records["women/anna/1"].images] == ["rgb", "nir"]


def test_a_picture_that_the_pattern_does_not_fit_is_set_aside(tmp_path: Path) -> None:
    put(tmp_path, "0007_1.jpg", "cover.jpg")
    records, _ = read(tmp_path, identity_pattern=NAMES)
    assert list(labels(records)) == ["0007_1"]
    assert "cover.jpg: data.reader.identity_pattern finds no identity" in (records["cover.jpg"].problem or "")


def test_a_pattern_that_fits_nothing_is_an_error_with_an_example(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg", "b.jpg")
    with pytest.raises(DataError, match=r"finds an identity in none of 2 pictures, e\.g\. a\.jpg"):
        read(tmp_path, identity_pattern=NAMES)


def test_pictures_of_one_folder_whose_names_tell_are_refused_with_the_pattern(tmp_path: Path) -> None:
    put(
        tmp_path,
        *[f"{pid}_cam{camera}_{shot}.jpg" for pid in ("a7", "b2") for camera in (1, 2) for shot in "xy"],
    )
    with pytest.raises(DataError) as refused:
        read(tmp_path)
    settings = r"data.reader.identity_pattern='([^/_]+)_[^/]*$' data.reader.camera_pattern='_cam([0-9]+)'"
    assert f"set {settings}." in str(refused.value)


@pytest.mark.parametrize("pattern", ["cam[0-9]+", "cam("])
def test_a_pattern_without_a_group_is_refused(pattern: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="identity_pattern"):
        reader(tmp_path, identity_pattern=pattern)


def test_a_manifest_and_a_pattern_are_one_too_many(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="leave out identity_pattern"):
        reader(tmp_path, identity_pattern=NAMES, manifest="list.csv")
