"""Copies of remote files on this machine, for files that are memory-mapped and never change.

A copy is named by its checksum, so that all processes of a machine share one: the first to ask makes it, the
others wait for it.
`ANYREID_CACHE` names the folder (default: `~/.cache/anyreid`), `ANYREID_CACHE_GIB` its largest size (16).
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from reid.errors import StorageError, StorageRefusal
from reid.storage.copies import DiskError, download
from reid.storage.uris import is_remote, resolve

log = logging.getLogger(__name__)

_LIMIT_GIB = 16.0
_PARTIAL = ".partial"
_ABANDONED_S = 3600.0
"""A part that nobody has written to for so long is of a process that was killed."""


def local_copy(uri: str, sha256: str, size: int) -> str:
    """The path of a file on this machine: a local file itself, a remote one copied here once.

    Args:
        uri: the file.
        sha256: hex digest of its content; a copy with another one is refused.
        size: its bytes.

    Raises StorageError when it is missing or is not this file, and when this machine cannot keep the copy.

    >>> import hashlib, tempfile, pathlib
    >>> file = pathlib.Path(tempfile.mkdtemp(), "a")
    >>> _ = file.write_bytes(b"abc")
    >>> local_copy(str(file), hashlib.sha256(b"abc").hexdigest(), 3) == str(file)
    True
    """
    _, path = resolve(uri)
    if not is_remote(uri):
        found = os.path.getsize(path) if os.path.exists(path) else None
        if found != size:
            raise StorageError(
                f"{uri}: " + ("no such file." if found is None else f"{found} bytes, not {size}.")
            )
        return path
    copy = _folder() / f"{sha256}{Path(path).suffix}"
    try:
        if _is_there(copy, size):
            return str(copy)
        copy.parent.mkdir(parents=True, exist_ok=True)
        with _alone(copy):
            if not _is_there(copy, size):
                _make_room(copy.parent, size)
                _fetch(uri, sha256, size, copy)
    except (OSError, DiskError) as error:
        remedy = "set ANYREID_CACHE to a folder that can be written and has room"
        raise StorageRefusal(f"{copy.parent}: cannot keep copies ({error}); {remedy}.") from error
    return str(copy)


def _is_there(copy: Path, size: int) -> bool:
    if not copy.exists() or copy.stat().st_size != size:
        return False
    with contextlib.suppress(OSError):
        os.utime(copy)  # the least recently used ones make room
    return True


def _fetch(uri: str, sha256: str, size: int, copy: Path) -> None:
    partial = copy.with_name(f"{copy.name}.{uuid.uuid4().hex}{_PARTIAL}")
    try:
        log.info("%s: %.0f MiB are copied to %s", uri, size / 2**20, copy)
        if download(uri, partial)[1] != sha256:
            raise StorageError(f"{uri}: its content changed since it was written (sha256).")
        os.replace(partial, copy)
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def _alone(copy: Path) -> Iterator[None]:
    """Have the other processes of this machine wait, that they find the copy instead of making their own.

    Where the folder's filesystem has no locks, each makes its own; they are alike.
    """
    with open(copy.with_name(f"{copy.name}.lock"), "ab") as lock:
        with contextlib.suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _folder() -> Path:
    return Path(os.environ.get("ANYREID_CACHE") or Path.home() / ".cache" / "anyreid") / "files"


def _make_room(folder: Path, size: int) -> None:
    """Delete the least recently used copies until `size` more bytes are within the limit.

    Parts of copies whose processes were killed go too.
    """
    limit = float(os.environ.get("ANYREID_CACHE_GIB") or _LIMIT_GIB) * 2**30
    held = []
    for file in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # another process makes room as well
            state = file.stat()
            if file.suffix == ".arrow":
                held.append((state.st_mtime, state.st_size, file))
            elif file.suffix == _PARTIAL and state.st_mtime < time.time() - _ABANDONED_S:
                log.warning("%s: deleted, the copy was never finished", file)
                file.unlink()
    total = sum(bytes_ for _, bytes_, _ in held) + size
    for _, bytes_, file in sorted(held):
        if total <= limit:
            return
        log.warning("%s: deleted to keep the folder below ANYREID_CACHE_GIB=%g", file, limit / 2**30)
        file.unlink(missing_ok=True)  # a process that has mapped it keeps its pages
        total -= bytes_
