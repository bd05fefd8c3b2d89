"""Listed files: found as spelled, found in another spelling and told, or named with what is near."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from reid.data.readers.shared.file_index import FileIndex


def index(root: Path, *files: str) -> FileIndex:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(b"x")
    return FileIndex(str(root), "row")


def nfd(text: str) -> str:
    return unicodedata.normalize("NFD", text)


@pytest.mark.parametrize("path", ["a/b.jpg", "./a//b.jpg", "a/x/../b.jpg"])
def test_a_file_as_spelled_is_found_without_a_word(tmp_path: Path, path: str) -> None:
    files = index(tmp_path, "a/b.jpg", "A/b.jpg", "a/B.jpg")
    assert files.find(path).uri == f"{tmp_path}/a/b.jpg"
    assert files.notes("list.csv") == []
    assert files.find(f"{tmp_path}/a/B.jpg").uri == f"{tmp_path}/a/B.jpg"


@pytest.mark.parametrize(
    ("listed", "there", "told"),
    [
        ("Ångström/é.png", nfd("Ångström/é.png"), "Unicode form or spaces"),
        (nfd("Ü/1.png"), "Ü/1.png", "Unicode form or spaces"),
        ("cam 1/1.png", "cam 1 /1.png", "Unicode form or spaces"),
        ("IMAGES/a.JPG", "images/a.jpg", "letter case"),
        ("x\\y\\1.png", "x/y/1.png", "backslashes"),
        ("X\\É.png", nfd("x/é.png"), "backslashes and letter case"),
    ],
)
def test_the_only_file_that_differs_in_what_systems_change_is_found_and_told(
    tmp_path: Path, listed: str, there: str, told: str
) -> None:
    files = index(tmp_path, there)
    found = files.find(listed)
    assert (found.uri, found.problem) == (f"{tmp_path}/{there}", None)
    files.find(listed)
    (line,) = files.notes("list.csv")
    assert line.startswith(f"list.csv: 2 paths differ from the disk in {told} (")


def test_two_files_that_fit_are_both_named(tmp_path: Path) -> None:
    found = index(tmp_path, "1/a.JPG", "1/A.jpg").find("1/a.jpg")
    assert "which is missing, while 'A.jpg' and 'a.JPG' differ in letter case only" in (found.problem or "")


@pytest.mark.parametrize(("listed", "near"), [("7/a.jpg", "007/a.jpg"), ("a/x 1.jpg", "a/x1.jpg")])
def test_what_differs_in_more_is_not_taken_but_named(tmp_path: Path, listed: str, near: str) -> None:
    found = index(tmp_path, near).find(listed)
    name = next(part for part in near.split("/") if part not in listed)
    assert f"which is missing, while there is '{name}'; correct one" in (found.problem or "")


def test_what_is_missing_says_so(tmp_path: Path) -> None:
    files = index(tmp_path, "a/b.jpg")
    for path in ("a/c.jpg", "c/b.jpg", "../b.jpg", "b.jpg"):
        assert (files.find(path).problem or "").endswith("is missing; restore the file or remove the row")


@pytest.mark.parametrize("path", ["C:\\photos\\b.jpg", "D:/photos/b.jpg", "\\\\server\\share\\b.jpg"])
def test_a_whole_path_of_windows_is_told_as_such(tmp_path: Path, path: str) -> None:
    assert "a path of another system" in (index(tmp_path, "b.jpg").find(path).problem or "")
