"""Folders at the top: which are splits, in whatever spelling, and which are identities."""

from __future__ import annotations

from pathlib import Path

import pytest

from reid.errors import DataError
from tests.support.sets.folder_trees import labels, put, read


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (("Training", "Validation", "Testing"), ["train", "val", "test"]),
        (("train_set", "valset", "test-images"), ["train", "val", "test"]),
        (("TRAIN", "Valid", "gallery_bbox", "queries"), ["train", "val", "test", "test"]),
        (("trainset", "dev", "Probe", "Gallery Images"), ["train", "val", "test", "test"]),
    ],
)
def test_other_spellings_are_read_as_splits_and_told(
    names: tuple[str, ...], splits: list[str], tmp_path: Path
) -> None:
    put(tmp_path, *[f"{name}/{pid}/a.jpg" for pid, name in enumerate(names)])
    records, notes = read(tmp_path)
    found = labels(records)
    assert [found[f"{name}/{pid}/a"] for pid, name in enumerate(names)] == [
        (str(pid), split, None) for pid, split in enumerate(splits)
    ]
    (note,) = notes
    assert note.startswith("Folders that are read as splits: ")
    assert "data.reader.roles='{" in note


def test_roles_come_with_the_spelling(tmp_path: Path) -> None:
    put(tmp_path, "training/1/a.jpg", "gallery_bbox/2/a.jpg", "probes/2/b.jpg")
    records, notes = read(tmp_path)
    roles = {name: r.labels.roles for name, r in records.items()}
    assert roles == {"training/1/a": None, "gallery_bbox/2/a": ("gallery",), "probes/2/b": ("query",)}
    assert "gallery_bbox as gallery, probes as query, training as train" in notes[0]


def test_plain_names_and_configured_ones_need_no_telling(tmp_path: Path) -> None:
    put(tmp_path, "train/1/a.jpg", "test/2/a.jpg", "extra/3/a.jpg")
    records, notes = read(tmp_path, roles={"Extra": {"split": "val"}})
    assert (labels(records)["extra/3/a"], notes) == (("3", "val", None), [])


@pytest.mark.parametrize("name", ["train_171", "my test", "holdout-val"])
def test_a_doubtful_name_is_an_error_that_says_how_to_name_it(name: str, tmp_path: Path) -> None:
    put(tmp_path, f"{name}/1/a.jpg", f"{name}/2/a.jpg", "other/3/a.jpg")
    with pytest.raises(DataError, match=rf"may be those of splits: {name}\..*data\.reader\.roles='{{{name}:"):
        read(tmp_path)
    records, _ = read(tmp_path, identity_pattern="^([^/]+)/")
    assert {identity for identity, *_ in labels(records).values()} == {name, "other"}


def test_a_doubtful_name_that_the_configuration_tells_is_read(tmp_path: Path) -> None:
    put(tmp_path, "train_171/1/a.jpg", "train_171/2/a.jpg", "test/3/a.jpg")
    records, _ = read(tmp_path, roles={"train_171": {"split": "train"}})
    assert {split for _, split, _ in labels(records).values()} == {"train", "test"}


def test_identities_that_are_called_like_splits_stay_identities(tmp_path: Path) -> None:
    """Dev is a person, and toy trains have pictures right in their folders."""
    put(tmp_path, "Dev/a.jpg", "Anna/a.jpg", "Dev/nir/b.jpg")
    records, notes = read(tmp_path)
    assert ({i for i, *_ in labels(records).values()}, notes) == ({"Dev", "Anna"}, [])
    trains = tmp_path / "trains"
    put(trains, *[f"train_{n}/{shot}.jpg" for n in range(3) for shot in "ab"])
    assert {i for i, *_ in labels(read(trains)[0]).values()} == {"train_0", "train_1", "train_2"}


def test_a_split_beside_identities_is_refused_with_both_ways_out(tmp_path: Path) -> None:
    put(tmp_path, "Training/1/a.jpg", "anna/a.jpg")
    with pytest.raises(
        DataError, match=r"split folders \(Training\) beside others \(anna\).*roles.*identity_pattern"
    ):
        read(tmp_path)
    records, notes = read(tmp_path, identity_pattern="^([^/]+)/")
    assert {i for i, *_ in labels(records).values()} == {"Training", "anna"}
    assert "not read as splits" in notes[0]


def test_a_folder_without_pictures_beside_the_splits_is_passed_over_and_told(tmp_path: Path) -> None:
    put(tmp_path, "train/1/a.jpg", "test/2/a.jpg")
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "boxes.xml").write_text("<boxes/>")
    (tmp_path / "empty").mkdir()
    records, notes = read(tmp_path)
    assert {split for _, split, _ in labels(records).values()} == {"train", "test"}
    assert notes == ["left out files that are no pictures by their suffix: 1 (.xml)."]


def test_a_picture_beside_the_splits_is_set_aside(tmp_path: Path) -> None:
    put(tmp_path, "train/1/a.jpg", "test/2/a.jpg", "stray.jpg")
    assert "outside any split folder; move it into one of test, train" in (
        read(tmp_path)[0]["stray.jpg"].problem or ""
    )


def test_a_manifest_may_spell_splits_so_too(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    (tmp_path / "list.csv").write_text(
        "file,pid,split\na.jpg,1,Training\nb.jpg,2,Validation\nc.jpg,3,gallery set\n"
    )
    assert [split for _, split, _ in labels(read(tmp_path, manifest="list.csv")[0]).values()] == [
        "train",
        "val",
        "test",
    ]
