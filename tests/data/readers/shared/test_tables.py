"""Tables as spreadsheets save them: read where there is no doubt, else refused with cause and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from reid.data.readers.shared.tables import Table, TableFormat, names_columns, read_table
from reid.errors import DataError

WANTED, NEEDED = ("file", "pid", "camid"), ("file", "pid")


def table(root: Path, text: str, encoding: str = "utf-8", **form: str) -> Table:
    (root / "list.csv").write_bytes(text.encode(encoding))
    return read_table(str(root / "list.csv"), WANTED, NEEDED, TableFormat(**form))


def rows(found: Table) -> list[tuple[int, dict[str, str]]]:
    return [(row.line, row.cells) for row in found.rows]


def test_a_comma_is_ours_and_not_told(tmp_path: Path) -> None:
    found = table(tmp_path, 'file,pid\n\n"a, b.jpg",7\n')
    assert rows(found) == [(3, {"file": "a, b.jpg", "pid": "7"})] and found.notes == []


@pytest.mark.parametrize(
    ("delimiter", "name"),
    [(";", "a semicolon"), ("\t", "a tab"), ("|", "a bar")],
    ids=["semicolon", "tab", "bar"],
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["lf", "crlf", "cr"])
def test_other_delimiters_and_line_ends_are_found_out_and_told(
    tmp_path: Path, delimiter: str, name: str, end: str
) -> None:
    lines = ["file;pid;place", "a.jpg;7;left, up"]
    found = table(tmp_path, end.join(lines).replace(";", delimiter) + end)
    assert rows(found) == [(2, {"file": "a.jpg", "pid": "7", "place": "left, up"})]
    assert [name in note for note in found.notes] == [True]


def test_the_delimiter_that_spreadsheets_are_told_is_taken(tmp_path: Path) -> None:
    found = table(tmp_path, "sep=;\r\nfile;pid\r\na,b.jpg;7\r\n")
    assert rows(found) == [(3, {"file": "a,b.jpg", "pid": "7"})]


def test_utf_16_with_tabs_as_a_spreadsheet_exports_unicode_text(tmp_path: Path) -> None:
    found = table(tmp_path, "file\tpid\r\né.jpg\t7\r\n", "utf-16")
    assert rows(found) == [(2, {"file": "é.jpg", "pid": "7"})]


def test_a_header_that_two_delimiters_fit_is_refused_until_one_is_set(tmp_path: Path) -> None:
    text = "file,pid,x;file;pid\n1,2,3;a.jpg;7\n"
    with pytest.raises(DataError, match=r"line 1: .* a comma, a semicolon; set data\.reader\.delimiter"):
        table(tmp_path, text)
    (row,) = table(tmp_path, text, delimiter=";").rows
    assert (row.cells["file"], row.cells["pid"]) == ("a.jpg", "7")


@pytest.mark.parametrize("header", ["pid,file,pid", "File,pid,file", "file,PID,p id"])
def test_a_used_column_that_is_named_twice_is_refused_with_the_line(tmp_path: Path, header: str) -> None:
    with pytest.raises(DataError, match=r"list\.csv line 1: the column .* is named twice"):
        table(tmp_path, f"{header}\na,1,2\n")


def test_another_column_that_is_named_twice_is_kept_twice_and_told(tmp_path: Path) -> None:
    found = table(tmp_path, "file,pid,place,place,place\na.jpg,1,x,y,z\n")
    assert found.rows[0].cells == {"file": "a.jpg", "pid": "1", "place": "x", "place.2": "y", "place.3": "z"}
    assert [f"kept as 'place.{n}'" in note for n, note in zip((2, 3), found.notes, strict=True)] == [
        True,
        True,
    ]


def test_column_names_are_compared_like_labels_and_told(tmp_path: Path) -> None:
    found = table(tmp_path, "FILE,Pid,Cam ID\na.jpg,1,2\n")
    assert found.rows[0].cells == {"file": "a.jpg", "pid": "1", "camid": "2"}
    assert len(found.notes) == 3 and "'Cam ID' is read as 'camid'" in found.notes[2]


def test_the_index_that_a_program_writes_is_passed_over_and_told(tmp_path: Path) -> None:
    found = table(tmp_path, ",file,pid\n0,a.jpg,1\n1,b.jpg,2\n")
    assert [row.cells for row in found.rows] == [{"file": "a.jpg", "pid": "1"}, {"file": "b.jpg", "pid": "2"}]
    assert "a column without a name is passed over (2 rows fill it)" in found.notes[0]
    assert table(tmp_path, "file,pid,,\na.jpg,1,,\n").notes == [], "empty columns are nothing"


def test_a_missing_column_tells_what_was_found_and_how(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"column\(s\) file missing; found: path, pid \(with a comma"):
        table(tmp_path, "path,pid\na.jpg,1\n")
    with pytest.raises(DataError, match=r"found: path, pid \(with a semicolon"):
        table(tmp_path, "path;pid\na.jpg;1\n")


def test_more_cells_than_columns_are_marked(tmp_path: Path) -> None:
    found = table(tmp_path, "file,pid\na.jpg,1,2\nb.jpg,1,\n")
    assert [row.overflow for row in found.rows] == [True, False]


def test_a_quote_that_is_left_open_names_the_line_where_it_opens(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"list\.csv line 3: not a row of a table"):
        table(tmp_path, 'file,pid\na.jpg,1\n"b.jpg,1\nc.jpg,2\n')


def test_a_list_is_recognised_in_any_form(tmp_path: Path) -> None:
    uri = tmp_path / "list.csv"
    for text, encoding in (
        ("File;PID\r\n", "utf-8-sig"),
        ("pid\tfile\n", "utf-16"),
        ("file,pid,pid\n", "ascii"),
    ):
        uri.write_bytes(text.encode(encoding))
        assert names_columns(str(uri), NEEDED, TableFormat())
    for data in (b"path,pid\n", b"", b"\x89PNG\0\0"):
        uri.write_bytes(data)
        assert not names_columns(str(uri), NEEDED, TableFormat())


def test_blank_lines_before_the_header_are_passed_over(tmp_path: Path) -> None:
    found = table(tmp_path, "\n;;\nfile;pid\na.jpg;7\n")
    assert rows(found) == [(4, {"file": "a.jpg", "pid": "7"})]
    assert names_columns(str(tmp_path / "list.csv"), NEEDED, TableFormat())


def test_rows_within_a_quoted_cell_are_told(tmp_path: Path) -> None:
    lost = table(tmp_path, 'file,pid,caption\na.jpg,7,"a hat\nb.jpg,7,a coat\nc.jpg,8,"\nd.jpg,8,\n')
    assert [row.cells["file"] for row in lost.rows] == ["a.jpg", "d.jpg"]
    (note,) = lost.notes
    assert "list.csv line 4: a quoted cell that ends here holds lines that look like rows" in note
    assert table(tmp_path, 'file,pid,caption\na.jpg,7,"a hat,\nred, with a band"\n').notes == []
