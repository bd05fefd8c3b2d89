"""Local folders and S3 behind one set of functions. Used as `storage.read_bytes(uri)`."""

from reid.storage.files import (
    delete_file,
    delete_folder,
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
from reid.storage.refusals import refusal, refusals_told, unreachable
from reid.storage.retry import retried, store_reason, tried_once, wait_no_more
from reid.storage.uris import absolute, is_remote, join, resolve
from reid.storage.walk import UnreadEntry, Walk, is_system

__all__ = [
    "UnreadEntry",
    "Walk",
    "absolute",
    "delete_file",
    "delete_folder",
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
    "refusal",
    "refusals_told",
    "resolve",
    "retried",
    "sha256",
    "stamp",
    "store_reason",
    "tried_once",
    "unreachable",
    "wait_no_more",
    "write_bytes",
    "write_json",
]
