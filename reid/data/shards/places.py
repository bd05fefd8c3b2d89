"""Where a shard set is: a folder of its own, or one of those below a folder of sets."""

from __future__ import annotations

from reid import storage
from reid.data.shards.manifest import MANIFEST
from reid.errors import DataError
from reid.storage.latest import folders_with, latest, pointer


def find_set(uri: str) -> str:
    """The set that a uri stands for: itself, or the newest of a folder of sets, as builds leave them.

    Where there is none it is `uri`. Raises DataError when several are there and LATEST names none of them.

    >>> find_set("runs/shards/mine")
    '.../runs/shards/mine/...'
    """
    return latest(uri, MANIFEST, "shard sets", DataError)


def is_set(uri: str) -> bool:
    """Whether a folder is a set or holds nothing but sets: for verbs that take raw folders, too.

    >>> is_set("runs/shards/mine"), is_set("runs")
    (True, False)
    """
    if storage.exists(storage.join(uri, MANIFEST)):
        return True
    if (name := pointer(uri)) and storage.exists(storage.join(uri, name, MANIFEST)):
        return True
    found = folders_with(uri, MANIFEST)
    return bool(found) and len(found) == len(storage.list_folders(uri))
