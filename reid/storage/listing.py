"""What lies directly in a folder, local or on S3. A listing is not trusted: each entry is looked at first.

Names need not be UTF-8, links may lead nowhere or back to a folder above them, and an object key may have
parts that no path has. Such an entry is listed with its fault, so that the caller can tell it.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from enum import StrEnum

import pyarrow.fs as pafs

from reid.storage.refusals import unreachable
from reid.storage.retry import retried
from reid.storage.uris import absolute, has_odd_parts, is_remote, resolve

_IS_NO_FOLDER = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP)


class Fault(StrEnum):
    """Why an entry is not read, in the words of a note: "3 <fault>"."""

    SYSTEM = "hidden or made by the system"
    LOOP = "links back to a folder above them"
    TWIN = "links to what is read under its own name"
    DANGLING = "links that lead nowhere"
    NOT_UTF8 = "names that are not UTF-8"
    ODD_KEY = "object keys with an empty part, '.' or '..'"
    SPECIAL = "neither file nor folder (pipe, socket or device)"
    NO_PICTURE = "files that are no pictures by their suffix"


@dataclass(frozen=True)
class Entry:
    """A file or folder of a listing, or what cannot be used as either."""

    path: str
    """A uri; where its name is not UTF-8, a path for the operating system alone."""
    is_folder: bool
    real: str
    """Where it really lies: other than `path` below links."""
    is_link: bool = False
    fault: Fault | None = None

    @property
    def uri(self) -> str:
        """The path as text: bytes that are not UTF-8 are spelled out, as in "caf\\xe9.jpg"."""
        return printable(self.path)

    @property
    def name(self) -> str:
        """The last part."""
        return self.uri.rstrip("/").rpartition("/")[2]


def list_entries(uri: str) -> list[Entry]:
    """What lies directly below a folder, by uri; nothing for what is missing or no folder.

    Args:
        uri: a local folder, or an s3:// prefix.

    Raises StorageError when the storage refuses or fails.
    """
    listed = _remote(uri) if is_remote(uri) else _local(absolute(uri))
    return sorted(listed, key=lambda entry: entry.uri)


def _local(folder: str) -> list[Entry]:
    try:
        with os.scandir(folder) as listed:
            inside = list(listed)
    except ValueError:  # a null byte
        return []
    except OSError as error:
        if error.errno in _IS_NO_FOLDER:
            return []
        raise unreachable(folder, error) from error
    here = os.path.realpath(folder)
    return [_local_entry(one, here) for one in inside]


def _local_entry(one: os.DirEntry[str], here: str) -> Entry:
    is_link = one.is_symlink()
    real = os.path.realpath(one.path) if is_link else f"{here}/{one.name}"
    try:
        is_folder, is_file = one.is_dir(), one.is_file()
    except OSError:  # a link to itself, or to what may not be looked at
        is_folder = is_file = False
    fault = None
    if printable(one.path) != one.path:
        fault = Fault.NOT_UTF8
    elif not is_folder and not is_file:
        fault = Fault.DANGLING if is_link else Fault.SPECIAL
    elif is_link and is_folder and is_within(here, real):
        fault = Fault.LOOP
    return Entry(one.path, is_folder, real, is_link, fault)


def _remote(uri: str) -> list[Entry]:
    if has_odd_parts(uri):
        return []
    fs, path = resolve(uri)
    below = pafs.FileSelector(path, allow_not_found=True)
    try:
        infos = retried(uri, lambda: fs.get_file_info(below))
    except OSError as error:
        raise unreachable(uri, error) from error
    found = []
    for info in infos:
        # A key like folder//a.jpg makes the store list the folder within itself.
        itself = info.path.rstrip("/") == path.rstrip("/")
        odd = Fault.ODD_KEY if itself or info.base_name in ("", ".", "..") else None
        name = f"s3://{path}//" if itself else f"s3://{info.path}"
        found.append(Entry(name, info.type == pafs.FileType.Directory, name, fault=odd))
    return found


def printable(path: str) -> str:
    """A path as text: bytes that are not UTF-8 are spelled out.

    >>> printable("caf\\udce9.jpg")
    'caf\\\\xe9.jpg'
    """
    try:
        path.encode()
    except UnicodeEncodeError:
        return os.fsencode(path).decode("utf-8", "backslashreplace")
    return path


def is_within(path: str, folder: str) -> bool:
    """Whether a path is a folder or lies anywhere below it.

    >>> is_within("/data/mine/1", "/data/mine"), is_within("/data/mine2", "/data/mine")
    (True, False)
    """
    return path == folder or path.startswith(folder.rstrip("/") + "/")
