"""Tries again, for minutes, what failed because an object store did not answer; never what it refused."""

from __future__ import annotations

import logging
import os
import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from reid.errors import UsageError
from reid.storage.uris import is_remote

log = logging.getLogger(__name__)

T = TypeVar("T")

RETRY_ENV = "ANYREID_STORAGE_RETRY_S"
"""The variable with the seconds that a store may be out; like those with its address, workers have it too."""
DEFAULT_S = 300.0
FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 30.0
TOLD_EVERY_S = 30.0

_HICCUP = re.compile(
    r"AWS Error (NETWORK_CONNECTION|REQUEST_TIMEOUT|SERVICE_UNAVAILABLE|INTERNAL_FAILURE)"
    r"|AWS Error (SLOW_DOWN|THROTTLING)"
    r"|AWS Error .*HTTP status (5\d\d|429)\b"
)
_once: ContextVar[bool] = ContextVar("once", default=False)
_NETWORK = re.compile(r"curlCode: \d+, ([^;(]+?)(?=[;(.]|$)")
_CODE = re.compile(r"AWS Error (\w+(?: \(HTTP status \d+\))?(?: during \w+)?)")
_XML = re.compile(r"<Code>(\w+)</Code>")
_LONGEST_REASON = 160
_ending = False
_gate = threading.Lock()
"""Held until pauses shall end. An Event would do, were it safe to set in a handler of a signal."""
_gate.acquire()
_jitter = random.Random()
"""Not the common generator: an outage must not change what is drawn from that."""


def retried(uri: str, call: Callable[[], T], is_hiccup: Callable[[Exception], bool] | None = None) -> T:
    """What `call` returns; while its store does not answer, call it again with growing pauses.

    Args:
        uri: of the file or folder; anything local is tried once.
        call: may be called many times, so it starts from the beginning each time.
        is_hiccup: whether an error is worth another try; default: what `pyarrow.fs` raises for a store
            that is out, overloaded or breaks the connection.

    Raises the last error when the store has been out for as many seconds as ANYREID_STORAGE_RETRY_S says
    (default: 300); any other error, such as a missing file or a refused key, at once.

    >>> retried("s3://bucket/key", lambda: b"content")
    b'content'
    """
    if not is_remote(uri):
        return call()
    out_since, pause = None, FIRST_WAIT_S
    while True:
        try:
            result = call()
        except Exception as error:
            if not (is_hiccup or _is_store_out)(error):
                raise
            now = time.monotonic()
            out_since = now if out_since is None else out_since
            left = _patience_s() - (now - out_since)
            if left <= 0:
                raise
            _teller.waiting(uri, error, left)
            _pause(min(left, pause * _jitter.uniform(0.5, 1.0)))
            pause = min(2 * pause, LONGEST_WAIT_S)
        else:
            if out_since is not None:
                _teller.answered(uri, time.monotonic() - out_since)
            return result


def wait_no_more() -> None:
    """From now on nothing in this process is tried again, and pauses end: for a process that was told to end.

    A handler of a signal may call it: it waits for nothing.

    >>> wait_no_more()  # doctest: +SKIP
    """
    global _ending
    if not _ending:
        _ending = True
        _gate.release()


@contextmanager
def tried_once() -> Iterator[None]:
    """Within it nothing is tried again: for whoever asks whether a store answers now.

    >>> with tried_once():
    ...     retried("s3://bucket/key", lambda: "there")
    'there'
    """
    token = _once.set(True)
    try:
        yield
    finally:
        _once.reset(token)


def store_reason(error: BaseException) -> str:
    """Why a store does not answer or refuses, in a few words of a library's long error.

    >>> store_reason(OSError("AWS Error NETWORK_CONNECTION during HeadObject operation: curlCode: 7, Could "
    ...                       "not connect to server; Details: Failed to connect"))
    'Could not connect to server'
    >>> store_reason(OSError("AWS Error UNKNOWN (HTTP status 503) during PutObject operation: busy"))
    'UNKNOWN (HTTP status 503) during PutObject'
    """
    text = " ".join(str(error).split())
    words = _NETWORK.search(text) or _CODE.search(text) or _XML.search(text)
    return words[1].strip(" .") if words else text[:_LONGEST_REASON]


def _is_store_out(error: Exception) -> bool:
    return isinstance(error, OSError) and _HICCUP.search(str(error)) is not None


def _pause(seconds: float) -> None:
    """Sleep, or until `wait_no_more`."""
    if _gate.acquire(timeout=seconds):
        _gate.release()


def _patience_s() -> float:
    if _once.get() or _ending:
        return 0.0
    text = os.environ.get(RETRY_ENV)
    if not text:
        return DEFAULT_S
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not seconds >= 0:
        raise UsageError(f"{RETRY_ENV}: {text!r} is not a number of seconds; 0 tries once.")
    return seconds


class _Teller:
    """One line for an outage and one every half minute of it, however many threads wait."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._told_at: float | None = None
        self._is_out = False

    def waiting(self, uri: str, error: Exception, left: float) -> None:
        with self._lock:
            now = time.monotonic()
            if self._told_at is not None and now - self._told_at < TOLD_EVERY_S:
                return
            self._told_at, self._is_out = now, True
        further = f"trying again for up to {left:.0f} s ({RETRY_ENV})"
        log.warning("%s: the store does not answer (%s); %s.", uri, store_reason(error), further)

    def answered(self, uri: str, seconds: float) -> None:
        with self._lock:
            if not self._is_out:  # another thread has told it
                return
            self._is_out = False
        log.warning("%s: the store answers again, after %.0f s.", uri, seconds)


_teller = _Teller()
