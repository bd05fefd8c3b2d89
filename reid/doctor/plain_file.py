"""A plain file where a folder was expected: what it is, and what to give instead."""

from __future__ import annotations

import io
import json
import shlex
import warnings
from collections.abc import Callable

import pyarrow.fs as pafs
from PIL import Image as PILImage
from PIL import UnidentifiedImageError

from reid import storage
from reid.doctor.finding import Finding

CODE = "not-a-folder"
_HEAD = 256 * 1024
"""Bytes from the start that are looked at; enough for the header of a picture."""
_ARCHIVES = {
    b"PK\x03\x04": "a zip archive",
    b"\x1f\x8b": "a gzip archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ": "an xz archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"Rar!": "a rar archive",
}
_TAR = (257, b"ustar")
_WORKBOOKS = (".xlsx", ".xls", ".ods")
_TABLES = (".csv", ".tsv")
_VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".webm")

Kind = tuple[str, str]
"""(what the file is, what to give instead)."""


def plain_file(uri: str) -> Finding | None:
    """The finding about a file that was given as a data set's folder; None for what is no file.

    Args:
        uri: an absolute path or s3:// uri. Only the first bytes are read.

    >>> plain_file("/") is None
    True
    """
    fs, path = storage.resolve(uri)
    if fs.get_file_info(path).type != pafs.FileType.File:
        return None
    with fs.open_input_file(path) as stream:
        head = bytes(stream.read(_HEAD))
    what, instead = _kind(uri, head)
    text = f"{uri} is {what}; a data set is a folder or an s3:// prefix."
    return Finding("error", CODE, text, None, instead, 1, (uri,))


def _kind(uri: str, head: bytes) -> Kind:
    found = (look(uri, head) for look in _LOOKS)
    other = (
        "a file of a kind that no reader takes",
        f"give the folder with the pictures: {_doctor('FOLDER')}",
    )
    return next((kind for kind in found if kind), other)


def _empty(uri: str, head: bytes) -> Kind | None:
    return None if head else ("an empty file", f"give the folder with the pictures: {_doctor('FOLDER')}")


def _workbook(uri: str, head: bytes) -> Kind | None:
    if not uri.lower().endswith(_WORKBOOKS):
        return None
    return (
        "a spreadsheet",
        f"save it as CSV beside the pictures, and give the folder: {_doctor(_parent(uri))}",
    )


def _archive(uri: str, head: bytes) -> Kind | None:
    what = next((name for magic, name in _ARCHIVES.items() if head.startswith(magic)), None)
    if what is None and head[_TAR[0] :].startswith(_TAR[1]):
        what = "a tar archive"
    return None if what is None else (what, f"unpack it, and give the folder: {_doctor('FOLDER')}")


def _shard(uri: str, head: bytes) -> Kind | None:
    if not head.startswith(b"PAR1"):
        return None
    return (
        "a Parquet file",
        f"of a built shard set, give the folder with MANIFEST.json: {_doctor(_parent(_parent(uri)))}",
    )


def _picture(uri: str, head: bytes) -> Kind | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with PILImage.open(io.BytesIO(head)) as picture:
                what = f"one picture ({picture.format}, {picture.width}x{picture.height})"
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, PILImage.DecompressionBombError):
        return None
    return what, f"give the folder that holds the identities' folders: {_doctor(_parent(_parent(uri)))}"


def _video(uri: str, head: bytes) -> Kind | None:
    if not uri.lower().endswith(_VIDEOS):
        return None
    return "a video", "cut the objects out of its frames, one folder an identity, and give that folder"


def _table(uri: str, head: bytes) -> Kind | None:
    if not uri.lower().endswith(_TABLES):
        return None
    given = f"data.reader.manifest={_name(uri)}"
    return "a table", f"give its folder, and name it: {_doctor(_parent(uri), given)}"


def _configuration(uri: str, head: bytes) -> Kind | None:
    if not uri.lower().endswith((".yaml", ".yml")):
        return None
    return "a YAML file", f"if it is a configuration: python -m jobs.doctor data --config {shlex.quote(uri)}"


def _json(uri: str, head: bytes) -> Kind | None:
    if not uri.lower().endswith(".json"):
        return None
    if _name(uri) == "MANIFEST.json":
        return "the manifest of a built shard set", f"give its folder: {_doctor(_parent(uri))}"
    try:
        tree = json.loads(head)
    except ValueError:
        tree = {}
    many = f" with {len(tree)} entries" if tree else ""
    given = f"data.reader.texts={_name(uri)}"
    instead = (
        f"if it holds sentences by identity, give the folder of the pictures: {_doctor('FOLDER', given)}"
    )
    return f"a JSON file{many}", instead


_LOOKS: tuple[Callable[[str, bytes], Kind | None], ...] = (
    _empty,
    _workbook,
    _archive,
    _shard,
    _video,
    _table,
    _configuration,
    _json,
    _picture,
)


def _doctor(*given: str) -> str:
    return shlex.join(["python", "-m", "jobs.doctor", "data", *given])


def _parent(uri: str) -> str:
    return uri.rstrip("/").rpartition("/")[0] or "/"


def _name(uri: str) -> str:
    return uri.rstrip("/").rpartition("/")[2]
