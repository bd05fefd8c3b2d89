"""uri -> (filesystem, path): local folders and s3:// through pyarrow.fs, with atomic publication.

S3 endpoint, region and credentials come from the standard AWS variables (AWS_ENDPOINT_URL, AWS_REGION,
AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN); none is ever part of a uri.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import uuid
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pyarrow.fs as pafs

from reid.errors import StorageError

_PARTIAL = ".partial"
"""Ends the name of a file that is being written; a process that is killed may leave one behind."""


def is_remote(uri: str) -> bool:
    """True for an s3:// uri."""
    return uri.startswith("s3://")


def absolute(uri: str | Path) -> str:
    """An absolute local path or the uri unchanged. Ray workers run elsewhere: never hand them `./x`."""
    text = str(uri)
    if is_remote(text):
        return text.rstrip("/")
    if "://" in text:
        scheme = text.split("://", 1)[0]
        if scheme != "file":
            raise StorageError(f"{text}: unsupported scheme {scheme!r}; use a local path or s3://.")
        text = text.removeprefix("file://")
    return os.path.abspath(os.path.expanduser(text))


def resolve(uri: str | Path) -> tuple[pafs.FileSystem, str]:
    """The pyarrow filesystem and the path within it. Raises StorageError for an unknown scheme."""
    full = absolute(uri)
    if not is_remote(full):
        return pafs.LocalFileSystem(), full
    return _s3(tuple(os.environ.get(name) for name in _AWS)), full.removeprefix("s3://")


_AWS = (
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_PROFILE",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
)


@lru_cache(maxsize=4)
def _s3(environment: tuple[str | None, ...]) -> pafs.FileSystem:
    """The object store as the environment describes it; one for all that read it, with its connections."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    # A dead store is an error within half a minute: three tries of at most ten silent seconds.
    options: dict[str, Any] = {
        "region": os.environ.get("AWS_REGION") or _default_region(),
        "connect_timeout": 5,
        "request_timeout": 10,
        "retry_strategy": pafs.AwsStandardS3RetryStrategy(max_attempts=3),
    }
    if endpoint:
        parsed = urlparse(endpoint)
        if parsed.scheme not in {"http", "https"} or not parsed.netloc:
            raise StorageError(f"AWS_ENDPOINT_URL: {endpoint!r} is not of the form http(s)://host:port.")
        options |= {"endpoint_override": parsed.netloc, "scheme": parsed.scheme}
    return pafs.S3FileSystem(**options)


def _default_region() -> str:
    return os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"


def join(uri: str, *parts: str) -> str:
    """Join path parts below a uri."""
    return "/".join([uri.rstrip("/"), *(p.strip("/") for p in parts)])


def exists(uri: str) -> bool:
    """Whether a file or folder is there."""
    fs, path = resolve(uri)
    try:
        return bool(fs.get_file_info(path).type != pafs.FileType.NotFound)
    except OSError as error:
        raise unreachable(uri, error) from error


def read_bytes(uri: str) -> bytes:
    """The whole file. Raises StorageError if it is missing or unreadable."""
    fs, path = resolve(uri)
    try:
        with fs.open_input_file(path) as stream:
            return bytes(stream.read())
    except FileNotFoundError as error:
        raise StorageError(f"{uri}: no such file.") from error
    except OSError as error:
        raise unreachable(uri, error) from error


def write_bytes(uri: str, data: bytes) -> None:
    """Write a file so that readers see all of it or nothing (local: rename; S3: one put)."""
    fs, path = resolve(uri)
    try:
        if is_remote(uri):
            with fs.open_output_stream(path) as stream:
                stream.write(data)
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
        info = fs.get_file_info(path)
    except OSError as error:
        raise unreachable(uri, error) from error
    return "missing" if info.type == pafs.FileType.NotFound else f"{info.size}@{info.mtime_ns}"


def list_infos(uri: str) -> list[pafs.FileInfo]:
    """What lies directly below a folder, with sizes and times; empty if the folder is missing."""
    fs, path = resolve(uri)
    try:
        infos: list[pafs.FileInfo] = fs.get_file_info(pafs.FileSelector(path, allow_not_found=True))
    except OSError as error:
        raise unreachable(uri, error) from error
    return infos


def list_files(uri: str, suffix: str = "") -> list[str]:
    """Sorted uris of the finished files directly below a folder; empty if the folder is missing."""
    infos = list_infos(uri)
    prefix = "s3://" if is_remote(uri) else ""
    files = (i.path for i in infos if i.type == pafs.FileType.File)
    return sorted(prefix + path for path in files if path.endswith(suffix) and not path.endswith(_PARTIAL))


def list_folders(uri: str) -> list[str]:
    """Sorted uris of the folders directly below a folder; empty if it is missing."""
    infos = list_infos(uri)
    prefix = "s3://" if is_remote(uri) else ""
    return sorted(prefix + i.path for i in infos if i.type == pafs.FileType.Directory)


def make_dir(uri: str) -> None:
    """Create a folder and its parents (no-op on S3, where prefixes need none)."""
    if not is_remote(uri):
        Path(absolute(uri)).mkdir(parents=True, exist_ok=True)


def delete_file(uri: str) -> None:
    """Remove a file; silent if it is already gone."""
    fs, path = resolve(uri)
    try:
        fs.delete_file(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise unreachable(uri, error) from error


def sha256(data: bytes) -> str:
    """Hex digest used for content hashes and checksums."""
    return hashlib.sha256(data).hexdigest()


def unreachable(uri: str, error: Exception) -> StorageError:
    """What to raise when a storage refuses or fails: names the uri and, for S3, where to look."""
    hint = ""
    if is_remote(uri):
        hint = " Check AWS_ENDPOINT_URL, AWS_REGION and the AWS credentials."
    return StorageError(f"{uri}: cannot be accessed ({str(error).strip() or type(error).__name__}).{hint}")
