"""A folder of outputs stands for one of them: the one that LATEST names, or the only one."""

from __future__ import annotations

from pathlib import Path

import pytest

from reid.errors import DataError, GalleryError
from reid.storage.files import write_bytes
from reid.storage.latest import LATEST, folders_with, latest, name_latest
from reid.storage.uris import join

MARK = "done.json"


def find(uri: Path | str) -> str:
    return latest(str(uri), MARK, "things", DataError)


def make(folder: Path, *names: str) -> list[str]:
    for name in names:
        (folder / name).mkdir(parents=True)
        (folder / name / MARK).write_text("{}")
    return [str(folder / name) for name in names]


def test_a_folder_with_the_mark_is_taken_even_beside_others(tmp_path: Path) -> None:
    a, _ = make(tmp_path, "a", "b")
    assert find(a) == a
    (tmp_path / MARK).write_text("{}")
    assert find(tmp_path) == str(tmp_path)


def test_of_several_the_named_one_is_taken(tmp_path: Path) -> None:
    a, b = make(tmp_path, "a", "b")
    for wanted in (b, a):
        name_latest(wanted)
        assert (tmp_path / LATEST).read_text() == Path(wanted).name
        assert find(tmp_path) == find(f"{tmp_path}/") == wanted


def test_the_only_one_needs_no_name_and_unfinished_ones_do_not_count(tmp_path: Path) -> None:
    (only,) = make(tmp_path, "only")
    (tmp_path / "killed").mkdir()
    assert find(tmp_path) == only


def test_several_without_a_name_are_an_error_that_lists_them(tmp_path: Path) -> None:
    make(tmp_path, *"abcdefg")
    told = r"holds 7 things, and no LATEST.*one of them: a, b, c, d, e and 2 more"
    with pytest.raises(DataError, match=told):
        find(tmp_path)
    with pytest.raises(GalleryError):
        latest(str(tmp_path), MARK, "galleries", GalleryError)


def test_a_name_of_what_is_gone_is_told_or_the_only_one_left_is_taken(tmp_path: Path) -> None:
    (a,) = make(tmp_path, "a")
    (tmp_path / LATEST).write_text("deleted\n")
    assert find(tmp_path) == a
    make(tmp_path, "b")
    with pytest.raises(DataError, match=r"LATEST names 'deleted', which is gone. Name one of them: a, b\."):
        find(tmp_path)


@pytest.mark.parametrize("text", ["../elsewhere", "a/b", "..", ".", ""])
def test_a_name_that_is_no_name_leads_nowhere_else(text: str, tmp_path: Path) -> None:
    root = tmp_path / "root"
    make(tmp_path, "elsewhere")
    (a,) = make(root, "a")
    make(root / "a", "b")
    (root / LATEST).write_text(text)
    assert find(root) == a


def test_nothing_there_is_left_for_the_caller_to_tell(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for place in (tmp_path, tmp_path / "missing", tmp_path / "file"):
        assert find(place) == str(place)


def test_a_folder_of_very_many_folders_is_not_searched(tmp_path: Path) -> None:
    make(tmp_path, "set")
    for number in range(250):
        (tmp_path / f"{number:04d}").mkdir()
    assert folders_with(str(tmp_path), MARK) == []
    assert find(tmp_path) == str(tmp_path)


def test_a_name_that_is_right_already_is_not_written_again(tmp_path: Path) -> None:
    (a,) = make(tmp_path, "a")
    name_latest(a)
    before = (tmp_path / LATEST).stat().st_mtime_ns
    name_latest(a)
    assert (tmp_path / LATEST).stat().st_mtime_ns == before


def test_folders_of_a_bucket_stand_for_one_of_them_too(bucket: str) -> None:
    parent = join(bucket, "sets")
    for name in ("a", "b"):
        write_bytes(join(parent, name, MARK), b"{}")
    with pytest.raises(DataError, match=r"holds 2 things.*a, b\."):
        find(parent)
    name_latest(join(parent, "b"))
    assert find(parent) == find(f"{parent}/") == join(parent, "b")
    assert find(join(parent, "a")) == join(parent, "a")
