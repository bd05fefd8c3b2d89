"""uri -> (filesystem, path): local folders and s3:// through pyarrow.fs.

S3 endpoint, region and credentials come from the standard AWS variables (AWS_ENDPOINT_URL, AWS_REGION,
AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN); none is ever part of a uri.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pyarrow.fs as pafs

from reid.errors import StorageError


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
    if has_odd_parts(full):
        raise StorageError(f"{full}: an object key with an empty part, '.' or '..'; copy it to a plain key.")
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


def has_odd_parts(uri: str) -> bool:
    """Whether an s3:// uri has an empty part, "." or "..", which a store may hold but no path can name.

    >>> has_odd_parts("s3://bucket/a//b.jpg"), has_odd_parts("s3://bucket/a/b.jpg")
    (True, False)
    """
    parts = uri.removeprefix("s3://").rstrip("/").split("/")
    return any(part in ("", ".", "..") for part in parts)


def join(uri: str, *parts: str) -> str:
    """Join path parts below a uri."""
    return "/".join([uri.rstrip("/"), *(p.strip("/") for p in parts)])
