"""The tables of an exported tree as they are read: manifest, captions, lists of texts, attributes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from reid import storage
from reid.data.readers.shared import sample_tree
from reid.data.shards.schema import SampleAttribute
from reid.errors import DataError

Line = dict[str, Any]
LAYOUT = f"""Expected
  <path>/{sample_tree.MANIFEST}        one line a file: {{"rel_path", "pid", "cam", "split", "modality", ...}}
{sample_tree.TREE}
  <path>/{sample_tree.CAPTIONS}        {{rel_path: [{{"text": ...}}]}}, optional"""
_NEEDED = ("rel_path", "pid", "split", "modality")


class Folders:
    """Which of the files that a manifest names are there; each folder is listed once."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._listed: dict[str, set[str]] = {}

    def find(self, line: Line) -> str | None:
        """The uri of a line's file, which may be named below its modality's folder; None if it is missing."""
        path = line["rel_path"]
        if path is None or not sample_tree.is_relative(str(path)):
            return None
        modality = line["_modality"].modality
        folder = sample_tree.FOLDERS.get(modality) if modality else sample_tree.MASKS
        for candidate in (str(path), f"{folder}/{path}", f"{sample_tree.INFRARED}/{path}"):
            uri = storage.join(self.root, candidate)
            if uri in self._files(uri.rpartition("/")[0]):
                return uri
        return None

    def _files(self, folder: str) -> set[str]:
        if folder not in self._listed:
            self._listed[folder] = set(storage.list_files(folder))
        return self._listed[folder]


def refuse_incomplete(root: str) -> None:
    """Raise DataError for a tree whose export was stopped."""
    uri = storage.join(root, sample_tree.EXPORT)
    content = storage.read_json(uri) if storage.exists(uri) else None
    if isinstance(content, dict) and content.get("complete") is False:
        raise DataError(
            f"{uri}: the export into this folder was stopped; run the same `python -m jobs.build export` "
            "again, it goes on where it was."
        )


def read_lines(uri: str) -> list[tuple[int, Line]]:
    """Lines with their numbers. Raises DataError naming the first that is no line of a manifest."""
    found = []
    try:
        text = storage.read_bytes(uri).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{uri}: not UTF-8 ({error}).") from None
    for number, row in enumerate(text.split("\n"), 1):
        if not row.strip():
            continue
        try:
            line = json.loads(row)
        except ValueError as error:
            raise DataError(f"{uri} line {number}: not JSON ({error}).\n{LAYOUT}") from None
        missing = [k for k in _NEEDED if k not in line] if isinstance(line, dict) else list(_NEEDED)
        if missing:
            raise DataError(f"{uri} line {number}: {', '.join(missing)} missing.\n{LAYOUT}")
        found.append((number, line))
    return found


def read_captions(root: str, splits: Sequence[str]) -> dict[str, list[Line]]:
    """Sentences by sample id and by path without folder and suffix."""
    uri = storage.join(root, sample_tree.CAPTIONS)
    if storage.exists(uri):
        content = storage.read_json(uri)
        if not isinstance(content, dict):
            raise DataError(f"{uri}: expected {{rel_path: [{{text}}]}}, found {type(content).__name__}.")
        found = {path: _caption_entries(entries, f"{uri}: {path!r}") for path, entries in content.items()}
        return found | {bare(path): entries for path, entries in found.items()}
    listed: dict[str, list[Line]] = {}
    for split in splits:
        uri = storage.join(root, sample_tree.TEXTS, f"{split}_ALL.json")
        for row in storage.read_json(uri) if storage.exists(uri) else []:
            if not isinstance(row, dict) or not {"item", "description"} <= row.keys():
                raise DataError(f"{uri}: expected a list of {{item, description}}, found {row!r}.")
            listed[sample_tree.stem(str(row["item"]))] = _caption_entries(
                row["description"], f"{uri}: {row['item']!r}"
            )
    return listed


def _caption_entries(value: Any, where: str) -> list[Line]:
    values = value if isinstance(value, list) else [value]
    entries = [v if isinstance(v, dict) else {"text": v} for v in values]
    if not all(isinstance(v.get("text"), str) for v in entries):
        raise DataError(f"{where} has no text: {value!r}.")
    return entries


def read_attributes(root: str, splits: Sequence[str]) -> dict[str, tuple[SampleAttribute, ...]]:
    """Attributes by sample id and by path without folder and suffix."""
    found = {}
    for split in splits:
        uri = storage.join(root, f"{split}{sample_tree.ATTRIBUTES}")
        for row in storage.read_json(uri) if storage.exists(uri) else []:
            try:
                values = tuple(SampleAttribute(**a) for a in row["attributes"])
                names = [row.get("sample_id"), sample_tree.stem(str(row["item"]))]
            except (TypeError, KeyError, AttributeError) as error:
                raise DataError(f"{uri}: expected {{item, attributes}}, found {row!r} ({error}).") from None
            found.update({n: values for n in names if n})
    return found


def bare(path: str) -> str:
    """A file's path below its modality's folder, without suffix: alike for all files of a sample."""
    folder, _, rest = path.partition("/")
    known = {*sample_tree.FOLDERS.values(), sample_tree.INFRARED, sample_tree.MASKS}
    return sample_tree.stem(rest if folder in known else path)
