"""The tables of an exported tree as they are read: manifest, captions, lists of texts, attributes."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from reid import storage
from reid.data.labels import Blanks
from reid.data.readers.shared import sample_tree
from reid.data.readers.shared.captions import is_writable, sentences
from reid.data.readers.shared.file_index import FileIndex, FoundFile
from reid.data.readers.shared.keys import match_keys
from reid.data.readers.shared.text_files import parse_json, read_json, read_text
from reid.data.shards.schema import SampleAttribute
from reid.errors import DataError
from reid.modality import INFRARED

Line = dict[str, Any]
SampleKey = tuple[str, str, str]
"""Data set, split and id."""
Named = Mapping[str, Sequence[SampleKey]]
"""Samples by the paths and ids that may mean them."""
LAYOUT = f"""Expected
  <path>/{sample_tree.MANIFEST}        one line a file: {{"rel_path", "pid", "cam", "split", "modality", ...}}
{sample_tree.TREE}
  <path>/{sample_tree.CAPTIONS}        {{rel_path: [{{"text": ...}}]}}, optional"""
_MEANT = "path or id of a sample"
_NEEDED = ("rel_path", "pid", "split", "modality")


class Folders:
    """Which of the files that a manifest names are there."""

    def __init__(self, root: str) -> None:
        self.index = FileIndex(root, "line")

    def find(self, line: Line) -> FoundFile | None:
        """A line's file, which may be named below its modality's folder; None for a path that leads out."""
        path = line["rel_path"]
        if path is None or not sample_tree.is_relative(str(path)):
            return None
        modality = line["_modality"].modality
        folder = sample_tree.FOLDERS.get(modality) if modality else sample_tree.MASKS
        candidates = [str(path), f"{folder}/{path}"]
        if modality in INFRARED:
            candidates.append(f"{sample_tree.INFRARED}/{path}")
        first = self.index.find(candidates[0])
        if first.problem is None:
            return first
        tried = map(self.index.find, candidates[1:])
        return next((found for found in tried if found.problem is None), first)


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
    text = read_text(uri).text
    for number, row in enumerate(text.split("\n"), 1):
        if not row.strip():
            continue
        try:
            line = parse_json(row, f"{uri} line {number}")
        except ValueError as error:
            raise DataError(f"{uri} line {number}: not JSON ({error}).\n{LAYOUT}") from None
        if "\\u" in row and not is_writable(json.dumps(line, ensure_ascii=False)):
            raise DataError(
                f"{uri} line {number}: holds half a character, which cannot be stored; correct it."
            )
        missing = [k for k in _NEEDED if k not in line] if isinstance(line, dict) else list(_NEEDED)
        if missing:
            raise DataError(f"{uri} line {number}: {', '.join(missing)} missing.\n{LAYOUT}")
        found.append((number, line))
    return found


def read_captions(
    root: str, splits: Sequence[str], named: Named, blanks: Blanks
) -> tuple[dict[SampleKey, list[Line]], list[str]]:
    """Sentences of each sample, and notes on keys. Words for nothing are counted."""
    uri = storage.join(root, sample_tree.CAPTIONS)
    content: dict[str, Any] = {}
    if storage.exists(uri):
        content = read_json(uri)
        if not isinstance(content, dict):
            raise DataError(f"{uri}: expected {{rel_path: [{{text}}]}}, found {type(content).__name__}.")
    else:
        uri = storage.join(root, sample_tree.TEXTS)
        for split in splits:
            one = storage.join(uri, f"{split}_ALL.json")
            for row in read_json(one) if storage.exists(one) else []:
                if not isinstance(row, dict) or not {"item", "description"} <= row.keys():
                    raise DataError(f"{one}: expected a list of {{item, description}}, found {row!r}.")
                content[str(row["item"])] = row["description"]
    meant, notes = match_keys(content, named, uri, _MEANT)
    found: dict[SampleKey, list[Line]] = defaultdict(list)
    for key, samples in meant.items():
        said = sentences(content[key], f"{uri}: {key!r}", blanks)
        for sample in samples:
            found[sample] += said
    return found, notes


def read_attributes(
    root: str, splits: Sequence[str], named: Named
) -> tuple[dict[SampleKey, tuple[SampleAttribute, ...]], list[str]]:
    """Attributes of each sample, and notes on keys."""
    listed: dict[str, tuple[SampleAttribute, ...]] = {}
    for split in splits:
        uri = storage.join(root, f"{split}{sample_tree.ATTRIBUTES}")
        for row in read_json(uri) if storage.exists(uri) else []:
            try:
                values = tuple(SampleAttribute(**a) for a in row["attributes"])
                listed[str(row.get("sample_id") or row["item"])] = values
            except (TypeError, KeyError, AttributeError) as error:
                raise DataError(f"{uri}: expected {{item, attributes}}, found {row!r} ({error}).") from None
    meant, notes = match_keys(listed, named, storage.join(root, f"*{sample_tree.ATTRIBUTES}"), _MEANT)
    return {sample: listed[key] for key, samples in meant.items() for sample in samples}, notes
