"""Annotated person sets: what a JSON list may say, and what happens to entries that say something else."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from reid.data.readers.base import Record
from reid.data.readers.shared.annotations import AnnotatedFields, Layout, read_annotated
from reid.errors import DataError, StorageError
from reid.modality import Modality

PICTURES = [f"{folder}/{n}.jpg" for folder in "ab" for n in (1, 2, 3, 9, 10)]
LAYOUT = Layout(files=("list.json", "list_.json"), first_id=1, tree="Expected <path>/list.json")


def entry(path: str = "a/1.jpg", **fields: Any) -> dict[str, Any]:
    return {"id": 1, "split": "train", "file_path": path, "captions": ["A man."], **fields}


def write(root: Path, entries: Any, pictures: Sequence[str] = PICTURES) -> Path:
    """The list, and these pictures, whatever the list names; a reader never opens them here."""
    (root / "list.json").write_text(json.dumps(entries))
    for path in pictures:
        (root / "imgs" / path).parent.mkdir(parents=True, exist_ok=True)
        (root / "imgs" / path).write_bytes(b"x")
    return root


def read(root: Path, **fields: Any) -> list[Record]:
    return read_annotated(AnnotatedFields(path=str(root), **fields), LAYOUT, "made")


def bad(root: Path, broken: Any) -> Record:
    """The record of a broken entry between two good ones."""
    found = read(write(root, [entry("a/1.jpg"), broken, entry("a/3.jpg", id=2)]))
    assert [r.labels.pid for r in found if r.problem is None] == [1, 2]
    (record,) = [r for r in found if r.problem]
    return record


def test_the_order_is_by_split_and_path_whatever_the_order_of_the_list(tmp_path: Path) -> None:
    entries = [
        entry("b/1.jpg", id=3, split="test"),
        entry("b/2.jpg", id=2, split="val"),
        entry("b/10.jpg"),
        entry("a/9.jpg"),
    ]
    names = ["a/9.jpg", "b/10.jpg", "b/2.jpg", "b/1.jpg"]
    assert [r.labels.sample_id for r in read(write(tmp_path, entries))] == names
    assert [r.labels.sample_id for r in read(write(tmp_path, entries[::-1]))] == names


def test_captions_are_stripped_and_otherwise_kept_in_their_order(tmp_path: Path) -> None:
    texts = ["  The  man, in RED.\n", "a café", "B", "A"]
    (record,) = read(write(tmp_path, [entry(captions=texts)]))
    assert record.captions == ("The  man, in RED.", "a café", "B", "A")


def test_both_spellings_of_the_path_are_read(tmp_path: Path) -> None:
    renamed = entry("a/2.jpg")
    renamed["img_path"] = renamed.pop("file_path")
    found = read(write(tmp_path, [entry("a/1.jpg"), renamed]))
    assert [r.images[Modality.RGB] for r in found] == [
        str(tmp_path / "imgs/a" / n) for n in ("1.jpg", "2.jpg")
    ]
    assert [r.labels.extra for r in found] == [{"file_path": "a/1.jpg"}, {"file_path": "a/2.jpg"}]


def test_the_first_name_of_the_list_wins_and_the_second_will_do(tmp_path: Path) -> None:
    write(tmp_path, [entry("a/1.jpg"), entry("a/2.jpg")])
    (tmp_path / "list_.json").write_text(json.dumps([entry("a/1.jpg")]))
    assert len(read(tmp_path)) == 2
    (tmp_path / "list.json").unlink()
    assert len(read(tmp_path)) == 1


@pytest.mark.parametrize("pid", ["7", 7.0, True, None, -1, 10**9, [7]])
def test_an_id_that_is_no_whole_number_is_set_aside(tmp_path: Path, pid: Any) -> None:
    record = bad(tmp_path, entry("a/2.jpg", id=pid))
    assert record.labels.pid == -1
    assert (record.problem or "").startswith(
        f"list.json entry 2 has the id {pid!r}; it must be a whole number"
    )


NO_CAPTIONS: tuple[Any, ...] = (
    [],
    None,
    "A man.",
    ["A man.", " "],
    ["A man.", 3],
    [None],
    ["\ud800"],
    ["nan"],
    ["A man.", "Unknown"],
)


@pytest.mark.parametrize("captions", NO_CAPTIONS)
def test_an_entry_without_proper_captions_is_set_aside(tmp_path: Path, captions: Any) -> None:
    record = bad(tmp_path, entry("a/2.jpg", captions=captions))
    assert record.captions == ()
    assert (record.problem or "").startswith("list.json entry 2 has the captions ")
    assert "a list of sentences" in (record.problem or "")


def test_captions_that_are_not_there_at_all_are_set_aside(tmp_path: Path) -> None:
    lacking = entry("a/2.jpg")
    del lacking["captions"]
    assert "has the captions None" in (bad(tmp_path, lacking).problem or "")


@pytest.mark.parametrize("split", ["dev", "", None, 3, ["train"]])
def test_an_unknown_split_is_set_aside(tmp_path: Path, split: Any) -> None:
    record = bad(tmp_path, entry("a/2.jpg", split=split))
    assert f"has the split {split!r}; known: train, val, test" in (record.problem or "")
    assert record.labels.split == "unknown"


@pytest.mark.parametrize(
    "path", ["", " ", None, 3, ".", "/somewhere/1.jpg", "../list.json", "a/../../list.json"]
)
def test_a_path_that_leads_nowhere_or_out_of_the_folder_is_set_aside(tmp_path: Path, path: Any) -> None:
    record = bad(tmp_path, entry(path))
    assert record.problem == "list.json entry 2 has no file_path or img_path below imgs."
    assert (record.images, record.labels.sample_id) == ({}, "list.json entry 2")


def test_an_entry_that_is_no_mapping_is_set_aside(tmp_path: Path) -> None:
    assert bad(tmp_path, "a/2.jpg").problem == "list.json entry 2 is no mapping but 'a/2.jpg'."


def test_a_picture_that_is_not_there_is_set_aside(tmp_path: Path) -> None:
    found = read(write(tmp_path, [entry("a/1.jpg"), entry("a/2.jpg")], ["a/1.jpg"]))
    assert found[0].problem is None
    assert found[1].problem == (
        f"list.json entry 2 names {tmp_path}/imgs/a/2.jpg, which is missing; "
        "restore the file or remove the entry."
    )


def test_all_that_is_wrong_with_an_entry_is_told_at_once(tmp_path: Path) -> None:
    problem = bad(tmp_path, {"id": "x"}).problem or ""
    assert all(
        word in problem for word in ("the id 'x'", "the split None", "the captions None", "no file_path")
    )
    assert problem.count("; and ") == 3


# What damages the whole set


def test_gaps_in_the_training_ids_are_refused_and_named(tmp_path: Path) -> None:
    write(tmp_path, [entry("a/1.jpg"), entry("a/2.jpg", id=3), entry("a/3.jpg", id=6)])
    with pytest.raises(
        DataError, match=r"list\.json: .* from 1 to 6 without a gap; missing: 2, 4, 5\. Restore"
    ):
        read(tmp_path)
    assert [r.labels.pid for r in read(tmp_path, allow_gaps=True)] == [1, 3, 6]


def test_many_gaps_are_counted_not_listed(tmp_path: Path) -> None:
    write(tmp_path, [entry("a/1.jpg"), entry("a/2.jpg", id=999_999_999)])
    with pytest.raises(DataError, match=r"missing: 2, 3, 4, 5, 6, 7, 8, 9, … \(999999997 in all\)"):
        read(tmp_path)


def test_ids_from_another_base_are_refused(tmp_path: Path) -> None:
    write(tmp_path, [entry("a/1.jpg", id=0), entry("a/2.jpg", id=1)])
    with pytest.raises(DataError, match=r"training ids start at 0, not at 1.*allow_gaps"):
        read(tmp_path)


def test_a_gap_says_how_many_ids_could_not_be_used(tmp_path: Path) -> None:
    write(tmp_path, [entry("a/1.jpg"), entry("a/2.jpg", id="2"), entry("a/3.jpg", id=3)])
    with pytest.raises(DataError, match=r"missing: 2\. 1 training entries have no usable id\."):
        read(tmp_path)


def test_gaps_among_the_other_splits_are_none(tmp_path: Path) -> None:
    write(tmp_path, [entry("a/1.jpg"), entry("a/2.jpg", id=40, split="test")])
    assert [r.labels.pid for r in read(tmp_path)] == [1, 40]


@pytest.mark.parametrize(("value", "found"), [([], "an empty list"), ({"train": []}, "a dict"), (3, "a int")])
def test_what_is_no_list_is_refused(tmp_path: Path, value: Any, found: str) -> None:
    with pytest.raises(
        DataError, match=rf"list\.json: expected a list of entries, found {found}\.\nExpected"
    ):
        read(write(tmp_path, value))


def test_what_is_no_json_is_refused(tmp_path: Path) -> None:
    write(tmp_path, [])
    (tmp_path / "list.json").write_text("[{")
    with pytest.raises(StorageError, match=r"list\.json: not valid JSON"):
        read(tmp_path)


def test_a_folder_of_pictures_that_is_missing_is_refused(tmp_path: Path) -> None:
    write(tmp_path, [entry("a/1.jpg"), entry("b/1.jpg"), entry("b/2.jpg")], ["a/1.jpg"])
    expected = (
        rf"imgs/b is missing; {tmp_path}/list\.json names 2 pictures in it\. Found in .*imgs: a/\.\nExpected"
    )
    with pytest.raises(DataError, match=expected):
        read(tmp_path)


def test_a_list_none_of_whose_pictures_is_there_is_refused(tmp_path: Path) -> None:
    write(tmp_path, [entry("1.jpg"), entry("2.jpg")], ["other.jpg"])
    with pytest.raises(
        DataError, match=r"none of its 2 pictures is there, e\.g\. .*1\.jpg\. .*: other\.jpg\.\nExp"
    ):
        read(tmp_path)


def test_a_path_in_another_spelling_is_found_and_told(tmp_path: Path) -> None:
    write(tmp_path, [entry("A\\1.JPG"), entry("b/é.jpg", id=2)], ["a/1.jpg", "b/e\u0301.jpg"])
    notes: list[str] = []
    found = read_annotated(AnnotatedFields(path=str(tmp_path)), LAYOUT, "made", notes.append)
    assert [r.problem for r in found] == [None, None]
    assert [r.labels.sample_id for r in found] == ["a/1.jpg", "b/é.jpg"]
    assert [how in note for how, note in zip(("backslashes", "Unicode form"), notes, strict=True)] == [
        True,
        True,
    ]


def test_a_key_that_an_entry_has_twice_is_refused(tmp_path: Path) -> None:
    write(tmp_path, [])
    (tmp_path / "list.json").write_text('[{"id": 1, "id": 2}]')
    with pytest.raises(DataError, match=r"list\.json: the key 'id' occurs twice"):
        read(tmp_path)
