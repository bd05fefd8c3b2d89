"""Published lists: what is read from them, and the one message for each kind of damage."""

from __future__ import annotations

from pathlib import Path

import pytest

from reid.data.readers.shared.id_lists import (
    ListLine,
    check_labels,
    pictures_by_id,
    read_entries,
    read_ids,
    require_disjoint,
)
from reid.errors import DataError
from reid.storage import Walk

LAYOUT = "Expected this tree"


@pytest.mark.parametrize(
    "text", ["7,2,10", "7,2,10\n", " 7, 2 ,10,\r\n", "\ufeff7,2,10,2", "7\n2\n10\n", "７,2,10"]
)
def test_identities_are_read_in_any_spacing_and_come_sorted_and_once(tmp_path: Path, text: str) -> None:
    (tmp_path / "ids.txt").write_bytes(text.encode())
    assert read_ids(str(tmp_path / "ids.txt")) == (2, 7, 10)


@pytest.mark.parametrize("word", ["x", "7.0", "-3", "0x7", "1;2", "٧", "1234567890"])
def test_what_is_no_identity_number_is_quoted(tmp_path: Path, word: str) -> None:
    (tmp_path / "ids.txt").write_text(f"1,{word},2\n", encoding="utf-8")
    with pytest.raises(DataError) as error:
        read_ids(str(tmp_path / "ids.txt"))
    assert f"ids.txt: not an identity number: '{word}'. " in str(error.value)


def test_an_empty_or_binary_list_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("\n")
    with pytest.raises(DataError, match=r"ids\.txt: no identity in it"):
        read_ids(str(tmp_path / "ids.txt"))
    (tmp_path / "ids.txt").write_bytes(b"\x89PNG\r\n\x1a\n\0\0")
    with pytest.raises(DataError, match=r"ids\.txt: not a text file"):
        read_ids(str(tmp_path / "ids.txt"))


def test_splits_that_share_identities_are_refused_by_name() -> None:
    require_disjoint({"a": [1, 2], "b": [3], "c": []})
    with pytest.raises(DataError, match=r"c and a share identities: 2, 5\."):
        require_disjoint({"a": [1, 2, 5], "b": [3], "c": [5, 4, 2]})


def test_pictures_are_those_of_listed_four_digit_folders_by_name(tmp_path: Path) -> None:
    for name in (
        "0007/b.jpg",
        "0007/a.JPG",
        "0007/._a.jpg",
        "0007/a.txt",
        "0008/a.jpg",
        "9/a.jpg",
        "0010/a.png",
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    found = pictures_by_id(Walk(str(tmp_path), ["jpg"]), str(tmp_path), [7, 9, 10, 11])
    assert found == {7: [f"{tmp_path}/0007/a.JPG", f"{tmp_path}/0007/b.jpg"]}


def entries(root: Path, text: str, files: tuple[str, ...] = ("v/3/a.bmp", "v/4/b c.bmp")) -> list[ListLine]:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(b"x")
    (root / "list.txt").write_text(text)
    return read_entries(str(root), "list.txt", LAYOUT)


def test_lines_are_read_in_any_spacing_and_come_sorted_by_path(tmp_path: Path) -> None:
    found = entries(tmp_path, "v/4/b c.bmp 1\r\n\r\n ./v/3//a.bmp\t0 \n")
    assert [(e.path, e.name, e.label, e.pid, e.problem) for e in found] == [
        ("v/3/a.bmp", "v/3/a", 0, 3, None),
        ("v/4/b c.bmp", "v/4/b c", 1, 4, None),
    ]
    assert [e.uri for e in found] == [f"{tmp_path}/v/3/a.bmp", f"{tmp_path}/v/4/b c.bmp"]
    assert [e.where for e in found] == [f"{tmp_path}/list.txt line {n}" for n in (3, 1)]


@pytest.mark.parametrize(
    "line",
    ["v/3/a.bmp", "v/3/a.bmp x", "v/3/a.bmp 1.0", "v/3/a.bmp -1", "7", "/v/3/a.bmp 0", "../v/3/a.bmp 0"],
)
def test_a_line_of_another_form_is_quoted_with_its_number(tmp_path: Path, line: str) -> None:
    with pytest.raises(DataError) as error:
        entries(tmp_path, f"v/3/a.bmp 0\n{line}\n")
    assert f"line 2 ({line!r})" in str(error.value)
    assert "Fetch the list again" in str(error.value)


def test_many_wrong_lines_are_counted(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"line 8 \('x'\), … \(30 in all\)"):
        entries(tmp_path, "x\n" * 30)


def test_a_picture_that_is_not_there_or_in_no_identitys_folder_is_set_aside_by_its_line(
    tmp_path: Path,
) -> None:
    text = "v/3/a.bmp 0\nv/3/0.bmp 0\nv/3/X/b.bmp 0\n"
    lost, stray, good = entries(tmp_path, text, ("v/3/a.bmp", "v/3/X/b.bmp"))
    assert (
        lost.problem
        == f"{lost.where} names {lost.uri}, which is missing; restore the file or remove the line."
    )
    assert lost.where.endswith("list.txt line 2")
    assert stray.pid is None
    assert "line 3: v/3/X/b.bmp lies in no folder that is an identity's number" in (stray.problem or "")
    assert good.problem is None


def test_a_list_of_which_nothing_is_there_shows_the_layout(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"none of its 2 pictures is there, e\.g\. w/3/a\.bmp(?s:.*)v/(?s:.*)this tree"
    ):
        entries(tmp_path, "w/3/a.bmp 0\nw/3/b.bmp 0\n")
    with pytest.raises(DataError, match=r"list\.txt: no picture in it"):
        entries(tmp_path, "\n")


FILES = ("v/3/a.bmp", "v/4/b.bmp", "t/3/a.bmp", "t/4/b.bmp")


def test_each_label_is_one_folder_number_and_each_folder_number_one_label(tmp_path: Path) -> None:
    check_labels(entries(tmp_path, "v/3/a.bmp 1\nv/4/b.bmp 0\nt/3/a.bmp 1\nt/4/b.bmp 0\n", FILES))
    for second, other in (("v/4/b.bmp 0", "v/3/a"), ("t/3/a.bmp 1", "t/3/a")):
        with pytest.raises(
            DataError, match=rf"line \d gives .* the label \d, but .*{other}.* A label is one"
        ):
            check_labels(entries(tmp_path, f"v/3/a.bmp 0\n{second}\n", FILES))


@pytest.mark.parametrize(
    ("labels", "missing"), [((1, 2), "missing: 0"), ((0, 2), "missing: 1"), ((5, 9), "missing: 0, 1")]
)
def test_labels_that_start_elsewhere_or_have_gaps_are_refused(
    tmp_path: Path, labels: tuple[int, int], missing: str
) -> None:
    found = entries(tmp_path, f"v/3/a.bmp {labels[0]}\nv/4/b.bmp {labels[1]}\n", FILES)
    with pytest.raises(
        DataError, match=rf"list\.txt: the 2 labels do not run from 0 without a gap; {missing}"
    ):
        check_labels(found)


def test_a_listed_path_in_another_spelling_is_found_and_told(tmp_path: Path) -> None:
    (tmp_path / "v/3").mkdir(parents=True)
    (tmp_path / "v/3/A.BMP").write_bytes(b"x")
    (tmp_path / "list.txt").write_text("V\\3\\a.bmp \uff10\n", encoding="utf-16")
    notes: list[str] = []
    (found,) = read_entries(str(tmp_path), "list.txt", LAYOUT, notes.append)
    assert (found.path, found.pid, found.label, found.problem) == ("v/3/A.BMP", 3, 0, None)
    utf16, spelled = notes
    assert "UTF-16" in utf16 and "backslashes and letter case" in spelled
