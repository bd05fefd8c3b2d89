"""Folders as readers see them: paths with environment variables, and what is in a folder, for messages."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable

from reid import storage
from reid.errors import DataError

_SHOWN = 8


def expand(path: str, key: str) -> str:
    """An absolute uri, environment variables filled in. Raises DataError for an unset one."""
    return storage.absolute(fill_variables(path, key))


def some(words: Iterable[str]) -> str:
    """The first few words and how many there are, for a message.

    >>> some(map(str, range(10)))
    '0, 1, 2, 3, 4, 5, 6, 7, … (10 in all)'
    """
    listed = list(words)
    return ", ".join(listed[:_SHOWN]) + (f", … ({len(listed)} in all)" if len(listed) > _SHOWN else "")


def contents(folder: str) -> str:
    """The first few things in a folder, for an error message."""
    listed = storage.list_entries(folder)
    names = [f"{e.name}/" for e in listed if e.is_folder and not e.fault]
    names += [e.name for e in listed if not e.is_folder and not e.fault]
    shown = [some(names)] if names else []
    faults = Counter(e.fault.value for e in listed if e.fault)
    return ", ".join([*shown, *(f"{n} {fault}" for fault, n in faults.items())]) or "nothing"


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
