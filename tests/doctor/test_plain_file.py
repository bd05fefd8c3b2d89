"""A plain file in place of a folder: what it is, and what to give instead."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from reid.doctor.data.examination import examine
from reid.doctor.plain_file import CODE, plain_file


def encoded(kind: str) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (30, 20)).save(stream, kind)
    return stream.getvalue()


def zipped() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a.jpg", b"x")
    return stream.getvalue()


def tarred(mode: str) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:  # type: ignore[call-overload]
        archive.addfile(tarfile.TarInfo("a.jpg"))
    return stream.getvalue()


FILES = {
    "p/7/a.jpg": (encoded("JPEG"), "one picture (JPEG, 30x20)", "p"),
    "p/7/b.tiff": (encoded("TIFF"), "one picture (TIFF, 30x20)", "p"),
    "list.csv": (b"file,pid\n", "a table", "data.reader.manifest=list.csv"),
    "list.tsv": (b"file\tpid\n", "a table", "data.reader.manifest=list.tsv"),
    "all.zip": (zipped(), "a zip archive", "unpack it"),
    "all.tar": (tarred("w"), "a tar archive", "unpack it"),
    "all.tgz": (tarred("w:gz"), "a gzip archive", "unpack it"),
    "list.xlsx": (zipped(), "a spreadsheet", "save it as CSV"),
    "mine.yaml": (b"name: mine\n", "a YAML file", "doctor data --config"),
    "texts.json": (b'{"1": {"text": "a"}}', "a JSON file with 1 entries", "data.reader.texts=texts.json"),
    "set/MANIFEST.json": (b"{}", "the manifest of a built shard set", "set"),
    "clip.mp4": (b"\0\0\0\x18ftyp", "a video", "frames"),
    "nothing": (b"", "an empty file", "folder"),
    "notes.txt": (b"hello", "a file of a kind that no reader takes", "folder"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_plain_file_is_told_as_what_it_is(tmp_path: Path, name: str) -> None:
    content, what, instead = FILES[name]
    file = tmp_path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    report = examine(str(file))
    (found,) = report.findings
    assert not report.ok and found.code == CODE and found.files == (str(file),)
    assert found.text.startswith(f"{file} is {what}")
    assert instead in found.remedy


def test_a_folder_and_nothing_are_no_plain_files(tmp_path: Path) -> None:
    assert plain_file(str(tmp_path)) is None
    assert plain_file(str(tmp_path / "missing")) is None
