"""Local folders and S3 behind one set of functions. Used as `storage.read_bytes(uri)`."""

from reid.storage.files import (
    delete_file,
    exists,
    list_files,
    list_folders,
    list_infos,
    make_dir,
    read_bytes,
    read_json,
    sha256,
    stamp,
    write_bytes,
    write_json,
)
from reid.storage.listing import list_entries
from reid.storage.retry import retried, tried_once
from reid.storage.uris import absolute, is_remote, join, resolve, unreachable
from reid.storage.walk import UnreadEntry, Walk, is_system

__all__ = [
    "UnreadEntry",
    "Walk",
    "absolute",
    "delete_file",
    "exists",
    "is_remote",
    "is_system",
    "join",
    "list_entries",
    "list_files",
    "list_folders",
    "list_infos",
    "make_dir",
    "read_bytes",
    "read_json",
    "resolve",
    "retried",
    "sha256",
    "stamp",
    "tried_once",
    "unreachable",
    "write_bytes",
    "write_json",
]
