"""Files behind uris, local or on S3: read, listed, and written so that readers see all of one or nothing."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import uuid
from pathlib import Path
from typing import Any

import pyarrow.fs as pafs

from reid.errors import StorageError
from reid.storage.listing import list_entries
from reid.storage.refusals import unreachable
from reid.storage.retry import retried
from reid.storage.uris import absolute, is_remote, resolve

_PARTIAL = ".partial"
"""Ends the name of a file that is being written; a process that is killed may leave one behind."""


def exists(uri: str) -> bool:
    """Whether a file or folder is there."""
    fs, path = resolve(uri)
    try:
        info = retried(uri, lambda: fs.get_file_info(path))
    except OSError as error:
        raise unreachable(uri, error) from error
    return bool(info.type != pafs.FileType.NotFound)


def read_bytes(uri: str) -> bytes:
    """The whole file. Raises StorageError if it is missing or unreadable."""
    fs, path = resolve(uri)

    def read() -> bytes:
        with fs.open_input_file(path) as stream:
            return bytes(stream.read())

    try:
        return retried(uri, read)
    except FileNotFoundError as error:
        raise StorageError(f"{uri}: no such file.") from error
    except OSError as error:
        raise unreachable(uri, error) from error


def write_bytes(uri: str, data: bytes) -> None:
    """Write a file so that readers see all of it or nothing (local: rename; S3: one put)."""
    fs, path = resolve(uri)

    def put() -> None:
        with fs.open_output_stream(path) as stream:
            stream.write(data)

    try:
        if is_remote(uri):
            retried(uri, put)
            return
        os.makedirs(os.path.dirname(path), exist_ok=True)
        partial = f"{path}.{uuid.uuid4().hex}{_PARTIAL}"
        try:
            with open(partial, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(partial, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.remove(partial)
            raise
    except OSError as error:
        raise unreachable(uri, error) from error


def read_json(uri: str) -> Any:
    """Parse a JSON file. Raises StorageError naming the file if it is not JSON."""
    try:
        return json.loads(read_bytes(uri))
    except ValueError as error:
        raise StorageError(f"{uri}: not valid JSON ({error}).") from error


def write_json(uri: str, value: Any) -> None:
    """Write pretty, key-sorted JSON atomically."""
    write_bytes(uri, (json.dumps(value, indent=1, sort_keys=True) + "\n").encode())


def stamp(uri: str) -> str:
    """Size and modification time of a file: changes when it is rewritten; "missing" when it is not there."""
    fs, path = resolve(uri)
    try:
        info = retried(uri, lambda: fs.get_file_info(path))
    except OSError as error:
        raise unreachable(uri, error) from error
    return "missing" if info.type == pafs.FileType.NotFound else f"{info.size}@{info.mtime_ns}"


def list_infos(uri: str) -> list[pafs.FileInfo]:
    """What lies directly below a folder, with sizes and times; empty if the folder is missing."""
    fs, path = resolve(uri)
    below = pafs.FileSelector(path, allow_not_found=True)
    try:
        infos: list[pafs.FileInfo] = retried(uri, lambda: fs.get_file_info(below))
    except OSError as error:
        raise unreachable(uri, error) from error
    return infos


def list_files(uri: str, suffix: str = "") -> list[str]:
    """Sorted uris of the finished files directly below a folder; empty if the folder is missing."""
    files = (e.uri for e in list_entries(uri) if not e.is_folder and not e.fault)
    return [path for path in files if path.endswith(suffix) and not path.endswith(_PARTIAL)]


def list_folders(uri: str) -> list[str]:
    """Sorted uris of the folders directly below a folder; empty if it is missing."""
    return [e.uri for e in list_entries(uri) if e.is_folder and not e.fault]


def make_dir(uri: str) -> None:
    """Create a folder and its parents (no-op on S3, where prefixes need none)."""
    if not is_remote(uri):
        Path(absolute(uri)).mkdir(parents=True, exist_ok=True)


def delete_file(uri: str) -> None:
    """Remove a file; silent if it is already gone."""
    fs, path = resolve(uri)
    try:
        retried(uri, lambda: fs.delete_file(path))
    except FileNotFoundError:
        return
    except OSError as error:
        raise unreachable(uri, error) from error


def delete_folder(uri: str) -> None:
    """Remove a folder with all below it; silent if it is already gone."""
    fs, path = resolve(uri)
    try:
        retried(uri, lambda: fs.delete_dir(path))
    except FileNotFoundError:
        return
    except OSError as error:
        raise unreachable(uri, error) from error


def sha256(data: bytes) -> str:
    """Hex digest used for content hashes and checksums."""
    return hashlib.sha256(data).hexdigest()
