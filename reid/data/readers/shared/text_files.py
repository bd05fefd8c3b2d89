"""Text and JSON as people save them: whichever encoding, told where it had to be guessed.

A byte order mark is believed, then UTF-8; UTF-16 without a mark shows by its zeros. What is none of these
is read as Windows-1252 (Latin-1), and told, as long as it looks like words of a western language; else the
encoding has to be configured.
"""

from __future__ import annotations

import codecs
import json
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

from reid import storage
from reid.errors import DataError, StorageError

AUTO = "auto"
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_WESTERN = "windows-1252"
_BINARY = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_FOREIGN = re.compile(rb"[\x80-\xff]{3}|(?<![^\s,;])[\x80-\xff]{2}(?![^\s,;])")
"""Runs that western words do not have, but words of another script have."""
_SAMPLE = 4096


@dataclass(frozen=True)
class TextFile:
    """A decoded file; `note` tells an encoding that was guessed."""

    text: str
    note: str | None = None


def read_text(uri: str, encoding: str = AUTO, key: str = "") -> TextFile:
    """Read a file as text.

    Args:
        uri: the file.
        encoding: "auto", or a name that Python knows.
        key: the setting that names the encoding, for messages; "" where there is none.

    Raises DataError for what is no text, or is none in that encoding, with the line.
    """
    data = storage.read_bytes(uri)
    if encoding != AUTO:
        return TextFile(_decoded(data, uri, encoding, key))
    known = next((name for mark, name in _MARKS if data.startswith(mark)), None) or _by_zeros(data)
    if known:
        note = f"{uri} is read as UTF-16" if known.startswith("utf-16") else None
        return TextFile(_decoded(data, uri, known, key), note)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return _guessed(data, uri, key)
    _refuse_binary(data, uri)
    return TextFile(text)


def read_json(uri: str, key: str = "") -> Any:
    """Parse a JSON file whose objects may be large.

    Raises StorageError for what is no JSON, and DataError for a key that an object has twice: one value would
    be lost.
    """
    text = read_text(uri, key=key).text
    try:
        return parse_json(text, uri)
    except ValueError as error:
        raise StorageError(f"{uri}: not valid JSON ({error}).") from error


def parse_json(text: str, where: str) -> Any:
    """Parse JSON. Raises ValueError for what is none, DataError for a key that an object has twice."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            (twice, _), *_ = Counter(name for name, _ in pairs).most_common(1)
            raise DataError(f"{where}: the key {twice!r} occurs twice in one object; join the two.")
        return found

    return json.loads(text, object_pairs_hook=unique)


def _by_zeros(data: bytes) -> str | None:
    """UTF-16 without a mark: mostly plain characters, so that every other byte is zero."""
    start = data[:_SAMPLE]
    half = len(start) // 2
    odd, even = start[1::2].count(0), start[::2].count(0)
    if half and odd > 0.6 * half and not even:
        return "utf-16-le"
    return "utf-16-be" if half and even > 0.6 * half and not odd else None


def _refuse_binary(data: bytes, uri: str) -> None:
    if found := _BINARY.search(data):
        line = data.count(b"\n", 0, found.start()) + 1
        raise DataError(
            f"{uri}: not a text file: line {line} holds the byte {found[0]!r}, which no text has. Save it as "
            "text in UTF-8, or remove the byte."
        )


def _guessed(data: bytes, uri: str, key: str) -> TextFile:
    _refuse_binary(data, uri)
    remedy = f"set {key}" if key else "save it as UTF-8"
    if foreign := _FOREIGN.search(data):
        line = data.count(b"\n", 0, foreign.start()) + 1
        names = ", e.g. gb18030, cp1251 or shift_jis" if key else ""
        raise DataError(f"{uri} line {line}: neither UTF-8 nor Latin-1 by its looks; {remedy}{names}.")
    try:
        text = data.decode(_WESTERN)
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    what = f"{uri} is read as Windows-1252 (Latin-1), because it is not UTF-8"
    return TextFile(text, f"{what}; {remedy} if its letters come out wrong")


def _decoded(data: bytes, uri: str, encoding: str, key: str) -> str:
    try:
        return data.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        remedy = f"Set {key}." if key else "Save it as UTF-8."
        raise DataError(f"{uri} line {line}: not {encoding} ({error}). {remedy}") from None
