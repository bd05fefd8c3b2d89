"""What a storage refuses, and trying again does not mend: no room, a key that does not work, a wrong clock.

Each becomes one error with its remedy, whichever library met it.
"""

from __future__ import annotations

import errno
import os
import platform
import re
import shutil
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from pathlib import Path

from reid.errors import StorageError, StorageRefusal
from reid.storage.retry import store_reason
from reid.storage.uris import absolute, is_remote

_FULL = re.compile(r"No space left on device|Disk quota exceeded|\bos error (28|122)\b")
_REFUSED = re.compile(
    r"ACCESS_DENIED|AccessDenied|INVALID_ACCESS_KEY_ID|InvalidAccessKeyId|SIGNATURE_DOES_NOT_MATCH"
    r"|SignatureDoesNotMatch|INVALID_CLIENT_TOKEN_ID|EXPIRED_?TOKEN|INVALID_?TOKEN|ExpiredToken|InvalidToken"
    r"|HTTP status 40[13]\b|\b40[13] (Forbidden|Unauthorized)",
)
_SKEWED = re.compile(r"REQUEST_TIME_TOO_SKEWED|RequestTimeTooSkewed|REQUEST_EXPIRED|RequestExpired")
_CLOCK_S = 300.0
"""Stores accept requests that were signed up to 15 minutes off; a clock this wrong is told."""
_AGAIN = "run the same command again: what is complete is kept"


def refusal(uri: str, error: BaseException) -> StorageRefusal | None:
    """What to raise for an error that no further try can mend; None for any other.

    Args:
        uri: the file or folder that was read or written.
        error: of the system, or of any library.

    >>> print(refusal("s3://bucket/key", OSError("AWS Error NETWORK_CONNECTION")))
    None
    """
    text = " ".join(str(error).split()) or type(error).__name__
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or _FULL.search(text):
        return _full(uri, text)
    if not is_remote(uri) or not (_REFUSED.search(text) or _SKEWED.search(text)):
        return None
    off = _clock_off()
    if _SKEWED.search(text) or (off is not None and abs(off) > _CLOCK_S):
        told = "" if off is None else f" by {abs(off) / 60:.0f} minutes"
        why = f"the clock of {platform.node()} differs from the store's{told}, so that no signature is valid"
        remedy = "Set it (`timedatectl set-ntp true`, or another NTP client)"
    else:
        why = "the store refuses the key, or the key lacks the right to do this"
        remedy = (
            "Check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, or the AWS_PROFILE, and "
            "that AWS_ENDPOINT_URL and AWS_REGION are of the same store"
        )
    return StorageRefusal(
        f"{uri}: cannot be accessed ({store_reason(error)}): {why}. {remedy}, then {_AGAIN}."
    )


@contextmanager
def refusals_told(uri: str) -> Iterator[None]:
    """Within it, what `refusal` knows is raised as that; every other error stays what it is.

    >>> with refusals_told("runs"):
    ...     pass
    """
    try:
        yield
    except StorageError:
        raise
    except Exception as error:
        if (told := refusal(uri, error)) is not None:
            raise told from error
        raise


def unreachable(uri: str, error: Exception) -> StorageError:
    """What to raise when a storage refuses or fails: names the uri and, for S3, where to look."""
    if (told := refusal(uri, error)) is not None:
        return told
    hint = ""
    if is_remote(uri):
        hint = " Check AWS_ENDPOINT_URL, AWS_REGION and the AWS credentials."
    return StorageError(f"{uri}: cannot be accessed ({str(error).strip() or type(error).__name__}).{hint}")


def _full(uri: str, text: str) -> StorageRefusal:
    if is_remote(uri):  # the store's own disk
        return StorageRefusal(f"{uri}: cannot be written ({text}). Make room in the store, then {_AGAIN}.")
    folder = Path(absolute(uri))
    while not folder.exists():
        folder = folder.parent
    usage, files = shutil.disk_usage(folder), os.statvfs(folder)
    room = f"{_size(usage.free)} of {_size(usage.total)} are free"
    if files.f_files and not files.f_favail:
        room = "it can hold no further file (no inode is free)"
    elsewhere = ", or set TMPDIR to a folder with more" if _is_scratch(Path(absolute(uri))) else ""
    return StorageRefusal(
        f"{uri}: cannot be written ({text}): {room} on its disk, on {platform.node()}. Make room "
        f"there{elsewhere}, then {_AGAIN}."
    )


def _is_scratch(path: Path) -> bool:
    """Whether it is a temporary file of a program, and not what somebody keeps below /tmp."""
    root = Path(tempfile.gettempdir())
    if not path.is_relative_to(root) or path == root:
        return False
    return path.relative_to(root).parts[0].startswith(("anyreid-", tempfile.gettempprefix()))


def _size(count: int) -> str:
    for unit, bytes_ in (("GiB", 2**30), ("MiB", 2**20)):
        if count >= bytes_:
            return f"{count / bytes_:.1f} {unit}"
    return f"{count / 2**10:.0f} KiB"


def _clock_off() -> float | None:
    """Seconds that this machine's clock is ahead of the store's; None where the store does not tell."""
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    try:
        with urllib.request.urlopen(endpoint or f"https://s3.{region}.amazonaws.com", timeout=5) as answer:
            date = answer.headers["Date"]
    except urllib.error.HTTPError as refused:  # without a key it mostly is; the answer has its time
        date = refused.headers["Date"]
    except OSError:
        return None
    try:
        return time.time() - parsedate_to_datetime(date).timestamp()
    except (TypeError, ValueError):
        return None
