"""Large files between this machine's disk and a store, in pieces, with their SHA-256 taken on the way."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reid.errors import StorageError, StorageRefusal
from reid.storage.refusals import refusal, unreachable
from reid.storage.retry import retried
from reid.storage.uris import resolve

_PIECE = 16 * 2**20


class DiskError(StorageRefusal):
    """A file of this machine that cannot be written."""


def upload(path: Path, uri: str) -> tuple[int, str]:
    """Copy a file of this machine to a uri of a store.

    Returns:
        Its size in bytes and its SHA-256.

    Raises StorageError when the store refuses it or has been out for too long.
    """
    fs, target = resolve(uri)

    def copy() -> tuple[int, str]:
        with path.open("rb") as source, fs.open_output_stream(target) as stream:
            return _pieces(source, stream)

    try:
        return retried(uri, copy)
    except OSError as error:
        raise unreachable(uri, error) from error


def download(uri: str, path: Path) -> tuple[int, str]:
    """Copy a file of a store to this machine; otherwise as `upload`.

    Raises DiskError when the path cannot be written: a full disk is not told as a store that is out.
    """
    fs, source_path = resolve(uri)
    here = _Here(path)

    def copy() -> tuple[int, str]:
        with fs.open_input_stream(source_path) as source, here:
            return _pieces(source, here)

    try:
        return retried(uri, copy)
    except OSError as error:
        if here.failed:
            told = refusal(str(path), error) or f"{path}: cannot be written ({error})."
            raise DiskError(str(told)) from error
        if isinstance(error, FileNotFoundError):
            raise StorageError(f"{uri}: no such file.") from error
        raise unreachable(uri, error) from error


def measured(path: Path) -> tuple[int, str]:
    """The size in bytes and the SHA-256 of a file of this machine.

    >>> Path("note.txt").write_text("hello")
    5
    >>> measured(Path("note.txt"))[1][:8]
    '2cf24dba'
    """
    with path.open("rb") as source:
        return _pieces(source, None)


def flush(path: Path) -> None:
    """Have the disk keep a file now, so that a file written later is not kept without it."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


class _Here:
    """A file of this machine that is written, and whether that failed."""

    def __init__(self, path: Path) -> None:
        self.path, self.failed = path, False

    def __enter__(self) -> None:
        with self._noting():
            self._stream = self.path.open("wb")

    def __exit__(self, *_: object) -> None:
        with self._noting():
            self._stream.close()

    def write(self, piece: bytes) -> None:
        with self._noting():
            self._stream.write(piece)

    @contextmanager
    def _noting(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            self.failed = True
            raise


def _pieces(source: Any, target: Any) -> tuple[int, str]:
    digest, size = hashlib.sha256(), 0
    while piece := source.read(_PIECE):
        digest.update(piece)
        size += len(piece)
        if target is not None:
            target.write(piece)
    return size, digest.hexdigest()
