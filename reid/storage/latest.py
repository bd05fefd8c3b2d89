"""Folders of runs, shard sets or galleries: LATEST in one names the folder that is meant by it."""

from __future__ import annotations

from reid.errors import AnyReIDError, StorageError
from reid.storage.files import exists, list_folders, read_bytes, write_bytes
from reid.storage.uris import absolute, join

LATEST = "LATEST"
"""The file that holds the name of the newest folder beside it."""
_MOST = 200
"""A folder with more folders in it is searched no further: it holds something else, e.g. identities."""
_SHOWN = 5


def latest(uri: str, mark: str, what: str, error: type[AnyReIDError]) -> str:
    """The folder that a uri stands for: itself, the one below it that LATEST names, or the only one below it.

    Args:
        uri: local or s3://; a folder that holds the file `mark`, or the folder of such folders.
        mark: the file that makes a folder what is looked for, e.g. "run.json".
        what: what is looked for, in the plural, for the error.
        error: what is raised when several are below the folder and LATEST names none of them.

    Returns:
        The folder's absolute uri; that of `uri` when there is nothing, so that opening it tells so.

    >>> latest("runs/train/mine", "run.json", "finished runs", AnyReIDError)
    '.../runs/train/mine/0001'
    """
    root = absolute(uri)
    if exists(join(root, mark)):
        return root
    named = pointer(root)
    if named and exists(join(root, named, mark)):
        return join(root, named)
    below = folders_with(root, mark)
    if len(below) > 1:
        names = [folder.rpartition("/")[2] for folder in below]
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        lacks = f"{LATEST} names {named!r}, which is gone" if named else f"no {LATEST} says which is meant"
        raise error(
            f"{root}: holds {len(names)} {what}, and {lacks}. Name one of them: "
            f"{', '.join(names[:_SHOWN])}{more}."
        )
    return below[0] if below else root


def folders_with(uri: str, mark: str) -> list[str]:
    """Uris of the folders right below `uri` that hold the file `mark`; none where folders are too many.

    >>> [folder.rpartition("/")[2] for folder in folders_with("runs/train/mine", "run.json")]
    ['0001']
    """
    try:
        below = list_folders(uri)
    except StorageError:  # a file, where a folder was asked for
        return []
    return [folder for folder in below if exists(join(folder, mark))] if len(below) <= _MOST else []


def pointer(uri: str) -> str:
    """The name that LATEST in a folder holds; "" without one.

    >>> pointer("runs/train/mine"), pointer("runs")
    ('0001', '')
    """
    place = join(uri, LATEST)
    name = read_bytes(place).decode(errors="replace").strip() if exists(place) else ""
    return "" if "/" in name or name in {".", ".."} else name


def name_latest(uri: str) -> None:
    """Let LATEST beside a folder name it; nothing is written when it does already."""
    parent, _, name = absolute(uri).rpartition("/")
    if pointer(parent) != name:
        write_bytes(join(parent, LATEST), name.encode())
