"""Annotated person sets: one JSON list that gives every picture its identity, its split and its sentences.

Shared by the readers of CUHK-PEDES, ICFG-PEDES and RSTPReid. An entry is {id, split, captions, file_path or
img_path}; other keys (processed_tokens) are passed over. An entry that cannot be used becomes a record with a
problem, which the build sets aside and counts: no picture or sentence, a blank sentence, an id that is no
whole number, an unknown split. A damaged set is an error: another layout, or training ids with gaps.
"""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count, islice
from typing import Any

from pydantic import Field

from reid import storage
from reid.config import Section
from reid.data.labels import is_nothing, tidy
from reid.data.readers.base import Note, Record, unheard
from reid.data.readers.shared.captions import is_writable
from reid.data.readers.shared.file_index import FileIndex, FoundFile
from reid.data.readers.shared.folders import contents, expand, file_name
from reid.data.readers.shared.text_files import read_json
from reid.data.shards.schema import ROLES, SPLITS, Labels
from reid.errors import DataError
from reid.modality import Modality

_PATH_KEYS = ("file_path", "img_path")
_LARGEST_ID = 999_999_999
_SHOWN = 8


class AnnotatedFields(Section):
    """Fields of a `data.reader:` section whose labels are one JSON list."""

    path: str = Field(description="folder with the JSON file and imgs; may hold ${VARIABLES}")
    allow_gaps: bool = Field(
        False, description="accept gaps in the numbers of the training identities (a part of the set)"
    )


@dataclass(frozen=True)
class Layout:
    """What tells the annotated sets apart."""

    files: tuple[str, ...]
    """Names that the JSON file goes by; the first that is there counts."""
    first_id: int
    """Training identities are numbered from here without a gap."""
    tree: str
    """The expected files, for messages."""


def read_annotated(
    fields: AnnotatedFields, layout: Layout, dataset: str, note: Note = unheard
) -> list[Record]:
    """A record for every entry: train, val, test, each by path; `note` is told of other spellings of paths.

    Every picture of the test split is a query, by its sentences, and in the gallery. Cameras stay unknown.
    Raises DataError when the layout is another, or training ids have gaps; StorageError for what is no JSON.
    """
    root = expand(fields.path, "data.reader.path")
    if not storage.exists(root):
        raise DataError(f"data.reader.path: no such folder: {root}.\n{layout.tree}")
    uri = _json_file(root, layout)
    images = storage.join(root, "imgs")
    if not storage.exists(images):
        raise DataError(f"{images} is missing. Found in {root}: {contents(root)}.\n{layout.tree}")
    entries = read_json(uri)
    if not isinstance(entries, list) or not entries:
        found = "an empty list" if entries == [] else f"a {type(entries).__name__}"
        raise DataError(f"{uri}: expected a list of entries, found {found}.\n{layout.tree}")
    parsed = [_parse(entry, f"{file_name(uri)} entry {n}") for n, entry in enumerate(entries, 1)]
    if not fields.allow_gaps:
        _check_ids(parsed, uri, layout.first_id)
    files = _pictures(images, [e.path for e in parsed if e.path], uri, layout, note)
    records = [_record(entry, images, files, dataset) for entry in parsed]
    return sorted(records, key=lambda r: (_rank(r.labels.split), r.labels.sample_id))


@dataclass(frozen=True)
class _AnnotatedPicture:
    """An entry as far as it could be understood."""

    where: str
    split: str
    pid: int | None
    spelled: str
    path: str
    captions: tuple[str, ...]
    problems: tuple[str, ...]


def _json_file(root: str, layout: Layout) -> str:
    for name in layout.files:
        if storage.exists(uri := storage.join(root, name)):
            return uri
    names = " or ".join(layout.files)
    raise DataError(f"{root}: no {names} in it. Found: {contents(root)}.\n{layout.tree}")


def _parse(entry: Any, where: str) -> _AnnotatedPicture:
    if not isinstance(entry, dict):
        return _AnnotatedPicture(where, "unknown", None, "", "", (), (f"is no mapping but {_shown(entry)}",))
    problems = []
    split, pid, captions = entry.get("split"), entry.get("id"), entry.get("captions")
    if split not in SPLITS:
        problems.append(f"has the split {_shown(split)}; known: {', '.join(SPLITS)}")
    if type(pid) is not int or not 0 <= pid <= _LARGEST_ID:  # True is an int too
        problems.append(f"has the id {_shown(pid)}; it must be a whole number from 0 to {_LARGEST_ID}")
        pid = None
    texts = [_text(c) for c in captions] if isinstance(captions, list) else []
    if not texts or not all(texts):
        problems.append(f"has the captions {_shown(captions)}; they must be a list of sentences, none blank")
        texts = []
    spelled = next((text for key in _PATH_KEYS if (text := _text(entry.get(key)))), "")
    path = posixpath.normpath(spelled) if spelled else ""
    if path in {"", "."} or path.startswith(("/", "..")):
        problems.append(f"has no {' or '.join(_PATH_KEYS)} below imgs")
        path = ""
    return _AnnotatedPicture(
        where,
        split if split in SPLITS else "unknown",
        pid,
        spelled,
        path,
        tuple(texts),
        tuple(problems),
    )


def _text(value: Any) -> str:
    """The stripped text; empty for what is none or a word for nothing, or cannot be written as UTF-8."""
    if not isinstance(value, str) or is_nothing(value, unknown=True) or not is_writable(value):
        return ""
    return value.strip()


def _shown(value: Any) -> str:
    """A value for a message, in plain characters and not too long."""
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


def _check_ids(entries: Sequence[_AnnotatedPicture], uri: str, first: int) -> None:
    """Raise DataError unless the training ids run from `first` without a gap."""
    training = [e for e in entries if e.split == "train"]
    ids = {e.pid for e in training if e.pid is not None}
    if not ids:
        return
    unusable = sum(e.pid is None for e in training)
    also = f" {unusable} training entries have no usable id." if unusable else ""
    remedy = "Restore the file; for a part of the set, set data.reader.allow_gaps=true."
    if min(ids) < first:
        raise DataError(f"{uri}: training ids start at {min(ids)}, not at {first}.{also} {remedy}")
    missing = max(ids) - first + 1 - len(ids)
    if missing:
        gaps = islice((n for n in count(first) if n not in ids), min(missing, _SHOWN))
        more = f", … ({missing} in all)" if missing > _SHOWN else ""
        raise DataError(
            f"{uri}: training ids must run from {first} to {max(ids)} without a gap; missing: "
            f"{', '.join(map(str, gaps))}{more}.{also} {remedy}"
        )


def _pictures(
    images: str, paths: Iterable[str], uri: str, layout: Layout, note: Note
) -> dict[str, FoundFile]:
    """Where the named files are. Raises DataError when a folder of imgs, or all files, lack."""
    files = FileIndex(images, "entry")
    found = {path: files.find(path) for path in paths}
    lost = [path for path, file in found.items() if file.problem]
    tops = Counter(p.partition("/")[0] for p in lost if "/" in p)
    folders = {file_name(f) for f in storage.list_folders(images)}
    folders |= {f.uri.removeprefix(f"{images}/").partition("/")[0] for f in found.values() if not f.problem}
    for top in sorted(tops.keys() - folders):
        raise DataError(
            f"{storage.join(images, top)} is missing; {uri} names {tops[top]} pictures in it. "
            f"Found in {images}: {contents(images)}.\n{layout.tree}"
        )
    if found and len(lost) == len(found):
        raise DataError(
            f"{uri}: none of its {len(found)} pictures is there, e.g. {storage.join(images, lost[0])}. "
            f"Found in {images}: {contents(images)}.\n{layout.tree}"
        )
    for line in files.notes(file_name(uri)):
        note(line)
    return found


def _record(entry: _AnnotatedPicture, images: str, found: dict[str, FoundFile], dataset: str) -> Record:
    file = found.get(entry.path)
    problems = list(entry.problems)
    path = entry.path
    if file and file.problem:
        problems.append(file.problem)
    elif file:
        path = file.uri.removeprefix(f"{images}/")
    labels = Labels(
        sample_id=tidy(path) or entry.where,
        dataset=dataset,
        split=entry.split,
        pid=-1 if entry.pid is None else entry.pid,
        roles=ROLES if entry.split == "test" else None,
        extra={"file_path": entry.spelled} if entry.spelled else {},
    )
    return Record(
        labels=labels,
        images={Modality.RGB: file.uri} if file else {},
        captions=entry.captions,
        problem=f"{entry.where} {'; and '.join(problems)}." if problems else None,
    )


def _rank(split: str) -> int:
    return SPLITS.index(split) if split in SPLITS else len(SPLITS)
