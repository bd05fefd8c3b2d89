"""Folders as readers see them: paths with environment variables, and what is in a folder, for messages."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from reid import storage
from reid.data.readers.base import Record
from reid.data.shards.schema import Labels
from reid.errors import DataError

_SHOWN = 8


def expand(path: str, key: str) -> str:
    """An absolute uri, environment variables filled in. Raises DataError for an unset one."""
    return storage.absolute(fill_variables(path, key))


def contents(folder: str) -> str:
    """The first few things in a folder, for an error message."""
    names = [f"{file_name(f)}/" for f in storage.list_folders(folder)]
    names += [file_name(f) for f in storage.list_files(folder)]
    more = f", … ({len(names)} in all)" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more if names else "nothing"


def set_aside(walk: storage.Walk, dataset: str) -> list[Record]:
    """A record for every picture that a walk found but nobody can read, so that the build tells it."""
    names = [(one.uri.removeprefix(walk.root).strip("/"), one.problem) for one in walk.broken]
    return [
        Record(Labels(sample_id=name, dataset=dataset, split="unknown", pid=-1), problem=problem)
        for name, problem in names
    ]


def visible(uris: Iterable[str]) -> list[str]:
    """Without what systems leave behind: .DS_Store, ._a.jpg, __MACOSX, @eaDir."""
    return [u for u in uris if not storage.is_system(file_name(u))]


def file_name(uri: str) -> str:
    """The last part of a uri."""
    return uri.rstrip("/").rpartition("/")[2]


def fill_variables(path: str, key: str) -> str:
    """Environment variables filled in. Raises DataError for an unset one."""
    expanded = os.path.expandvars(path)
    unset = re.search(r"\$\{?(\w+)", expanded)
    if unset:
        raise DataError(f"{key}: {path!r} needs the environment variable {unset[1]}; set it.")
    return expanded
