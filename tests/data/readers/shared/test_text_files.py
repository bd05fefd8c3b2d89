"""Files of text and JSON in the encodings that people save them in."""

from __future__ import annotations

from pathlib import Path

import pytest

from reid.data.readers.shared.text_files import read_json, read_text
from reid.errors import DataError, StorageError

TEXT = "file,pid\r\nStraße/é.jpg,1\r\n"


def written(root: Path, data: bytes) -> str:
    (root / "list.csv").write_bytes(data)
    return str(root / "list.csv")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_marks_and_utf_8_are_believed(tmp_path: Path, encoding: str) -> None:
    assert read_text(written(tmp_path, TEXT.encode(encoding))).text == TEXT


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_a_mark_is_seen_by_its_zeros(tmp_path: Path, encoding: str) -> None:
    file = read_text(written(tmp_path, TEXT.encode(encoding)))
    assert file.text == TEXT and "UTF-16" in (file.note or "")


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
def test_western_text_is_read_and_told(tmp_path: Path, encoding: str) -> None:
    file = read_text(written(tmp_path, TEXT.encode(encoding)), key="data.reader.encoding")
    assert file.text == TEXT
    assert "read as Windows-1252 (Latin-1)" in (file.note or "") and "set data.reader.encoding" in (
        file.note or ""
    )


@pytest.mark.parametrize(
    ("encoding", "word"),
    [("gb18030", "红色外套"), ("cp1251", "красный"), ("shift_jis", "赤い服"), ("gbk", "红")],
)
def test_another_script_is_not_taken_for_western_text(tmp_path: Path, encoding: str, word: str) -> None:
    uri = written(tmp_path, f"file,pid\na.jpg,{word}\n".encode(encoding))
    with pytest.raises(DataError, match=r"line 2: neither UTF-8 nor Latin-1.*set data\.reader\.encoding"):
        read_text(uri, key="data.reader.encoding")
    assert word in read_text(uri, encoding).text


def test_a_wrong_encoding_names_the_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"list\.csv line 2: not utf-8"):
        read_text(written(tmp_path, TEXT.encode("latin-1")), "utf-8", "data.reader.encoding")


@pytest.mark.parametrize("data", [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"PK\x03\x04\x14\0\x08\0"])
def test_what_is_no_text_is_told(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(DataError, match=r"list\.csv: not a text file"):
        read_text(written(tmp_path, data))


def test_a_json_key_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    assert read_json(written(tmp_path, '\ufeff{"é": [1]}'.encode())) == {"é": [1]}
    with pytest.raises(DataError, match=r"the key 'b' occurs twice in one object"):
        read_json(written(tmp_path, b'{"a": {"b": 1, "c": 2, "b": 3}}'))
    with pytest.raises(StorageError, match="not valid JSON"):
        read_json(written(tmp_path, b"[{"))
