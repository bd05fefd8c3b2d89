"""Lists that data sets publish as text: identities of a split, and pictures with a label a line.

Readers whose splits are such lists share the checks: a damaged list is one message that names the line, a
listed picture that is not there is a row set aside, and nothing of a list is passed over silently.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from reid import storage
from reid.data.labels import tidy
from reid.data.readers.base import Note, Record, unheard
from reid.data.readers.shared.file_index import FileIndex
from reid.data.readers.shared.folders import contents, file_name, some
from reid.data.readers.shared.text_files import read_text
from reid.data.shards.schema import Labels
from reid.errors import DataError

_NUMBER = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True)
class ListLine:
    """A line of a list of labelled pictures."""

    where: str
    """List and line, for messages."""
    path: str
    """Relative to the data set's folder."""
    uri: str
    label: int
    pid: int | None
    """The number of the folder that holds the picture."""
    problem: str | None
    """Why the picture cannot be used: it is not there, or its folder is no number."""
    missing: bool = False

    @property
    def name(self) -> str:
        """The path without its suffix."""
        return posixpath.splitext(self.path)[0]


def require(root: str, parts: Iterable[str], layout: str) -> None:
    """Raise DataError, with what is there instead and the expected layout, unless all parts exist."""
    if not storage.exists(root):
        raise DataError(f"data.reader.path: no such folder: {root}.\n{layout}")
    for part in parts:
        uri = storage.join(root, part)
        if not storage.exists(uri):
            shown = uri.rpartition("/")[0]
            shown = shown if storage.exists(shown) else root
            raise DataError(f"{uri} is missing. Found in {shown}: {contents(shown)}.\n{layout}")


def read_ids(uri: str, note: Note = unheard) -> tuple[int, ...]:
    """The identities of a comma-separated list, ascending, each once. Raises DataError for anything else."""
    words = [w for w in map(tidy, re.split(r"[,\s]+", _text(uri, note))) if w]
    wrong = [repr(w) for w in words if not _NUMBER.fullmatch(w)]
    if wrong:
        raise DataError(
            f"{uri}: not an identity number: {some(wrong)}. The list is whole numbers with commas between, "
            "e.g. 1,2,7; fetch it again."
        )
    if not words:
        raise DataError(f"{uri}: no identity in it; fetch it again.")
    return tuple(sorted({int(w) for w in words}))


def require_disjoint(lists: Mapping[str, Iterable[int]]) -> None:
    """Raise DataError when an identity is in two of the lists, here given by name."""
    seen: dict[str, set[int]] = {}
    for name, ids in lists.items():
        mine = set(ids)
        for other, theirs in seen.items():
            if shared := sorted(mine & theirs):
                raise DataError(
                    f"{name} and {other} share identities: {some(map(str, shared))}. Splits must not; fetch "
                    "the lists again."
                )
        seen[name] = mine


def pictures_by_id(walk: storage.Walk, folder: str, ids: Iterable[int]) -> dict[int, list[str]]:
    """The .jpg files of `<folder>/<id of four digits>`, by name, of the identities that have any.

    Other folders are passed over.
    """
    there = {file_name(f): f for f in walk.folders(folder)}
    found: dict[int, list[str]] = {}
    for pid in ids:
        below = there.get(f"{pid:04d}")
        if below and (pictures := walk.files(below)):
            found[pid] = pictures
    return found


def no_pictures(folder: str, layout: str) -> DataError:
    """What to raise when a folder of identities has no picture of any that is listed."""
    return DataError(
        f"{folder}: no .jpg file of a listed identity. Found in it: {contents(folder)}.\n{layout}"
    )


def without_pictures(dataset: str, split: str, pid: int, listed: str, folders: str) -> Record:
    """What stands for a listed identity without a picture, so that the build sets it aside and counts it."""
    name = f"{file_name(listed)}/{pid:04d}"
    return Record(
        labels=Labels(sample_id=name, dataset=dataset, split=split, pid=pid),
        problem=f"{listed} lists identity {pid}, but there is no .jpg file in {folders}/{pid:04d}; "
        "unpack the data set again, or take the identity off the list.",
    )


def read_entries(root: str, part: str, layout: str, note: Note = unheard) -> list[ListLine]:
    """The lines `<relative path> <label>` of a list below `root`, by path; `note` is told of other spellings.

    Raises DataError for a line of another form, and when none of the pictures is there.
    """
    uri = storage.join(root, part)
    lines = [(n, line) for n, line in enumerate(_text(uri, note).splitlines(), 1) if line.strip()]
    parsed = [(n, *_split(line)) for n, line in lines]
    wrong = [
        f"line {n} ({line.strip()!r})" for (n, line), row in zip(lines, parsed, strict=True) if not row[1]
    ]
    if wrong:
        raise DataError(
            f"{uri}: not `<path below the data set's folder> <label>`, the label a whole number: "
            f"{some(wrong)}. Fetch the list again."
        )
    if not parsed:
        raise DataError(f"{uri}: no picture in it; fetch it again.")
    files = FileIndex(root, "line")
    entries = [_entry(root, uri, *row, files) for row in parsed]
    if all(e.missing for e in entries):
        raise DataError(
            f"{uri}: none of its {len(entries)} pictures is there, e.g. {entries[0].path}. "
            f"Found in {root}: {contents(root)}.\n{layout}"
        )
    for line in files.notes(uri):
        note(line)
    return sorted(entries, key=lambda e: e.path)


def check_labels(entries: Sequence[ListLine]) -> None:
    """Raise DataError unless labels run from 0 without a gap and each stands for one folder number."""
    labels: dict[int, ListLine] = {}
    pids: dict[int, ListLine] = {}
    for entry in entries:
        if entry.pid is None:
            continue
        same_label, same_pid = labels.setdefault(entry.label, entry), pids.setdefault(entry.pid, entry)
        for other in (same_label, same_pid):
            if (other.label, other.pid) != (entry.label, entry.pid):
                raise DataError(
                    f"{entry.where} gives {entry.path} the label {entry.label}, but {other.where} gives "
                    f"{other.path} the label {other.label}. A label is one folder number; fetch the lists "
                    "again."
                )
    used = {e.label for e in entries}
    if gaps := [str(n) for n in range(len(used)) if n not in used]:
        names = ", ".join(dict.fromkeys(e.where.rpartition(" line ")[0] for e in entries))
        raise DataError(
            f"{names}: the {len(used)} labels do not run from 0 without a gap; missing: {some(gaps)}. "
            "Lines are lost: fetch the lists again, or number the labels again."
        )


def _text(uri: str, note: Note) -> str:
    file = read_text(uri)
    if file.note:
        note(file.note)
    return file.text


def _split(line: str) -> tuple[str, int]:
    """Normalised path and label of a line; an empty path when it has another form."""
    path, _, label = line.strip().replace("\t", " ").rpartition(" ")
    label = tidy(label)
    path = posixpath.normpath(path.strip()) if path.strip() else ""
    outside = path.startswith(("/", "..")) or path == "."
    return ("", -1) if outside or not _NUMBER.fullmatch(label) else (path, int(label))


def _entry(root: str, listed: str, line: int, path: str, label: int, files: FileIndex) -> ListLine:
    where = f"{listed} line {line}"
    found = files.find(path)
    path = path if found.problem else found.uri.removeprefix(f"{root}/")
    folder = posixpath.basename(posixpath.dirname(path))
    pid = int(folder) if _NUMBER.fullmatch(folder) else None
    problem = f"{where} {found.problem}." if found.problem else None
    if pid is None:
        problem = f"{where}: {path} lies in no folder that is an identity's number; correct the path."
    return ListLine(where, path, found.uri, label, pid, problem, found.problem is not None)
