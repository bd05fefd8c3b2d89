"""Lines that are appended, on disk and on object stores, which cannot append to a file.

A folder holds numbered parts, each written once and whole: `0002-000031.jsonl` is part 31 of the second
attempt (a process that resumed the work of the first). Nothing that is written is read or written again.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from reid.errors import AnyReIDError
from reid.storage.files import list_files, make_dir, read_bytes, write_bytes
from reid.storage.uris import join

log = logging.getLogger(__name__)

_NAME = re.compile(r"(\d{4,})-(\d{6,})\.[a-z]+")
_OF_ATTEMPT = re.compile(r"(\d{4,})-.*")
"""Also what was made of an attempt's parts, under its number."""
_READERS = 16
_MOST_WAITING = 200_000
"""Lines kept in memory while a store is out; beyond that the oldest are given up, and counted."""
FIRST_PAUSE_S = 2.0
_AFTER_FAILURE_S = 15.0


@dataclass(frozen=True, order=True)
class Part:
    """One part file: which attempt wrote it, its number from 1, and where it lies."""

    attempt: int
    number: int
    uri: str


def list_parts(folder: str) -> list[Part]:
    """The parts in a folder in the order of writing; none where there is no folder.

    >>> list_parts("runs/no-such-folder")
    []
    """
    found = []
    for uri in list_files(folder):
        if match := _NAME.fullmatch(uri.rpartition("/")[2]):
            found.append(Part(int(match[1]), int(match[2]), uri))
    return sorted(found)


def read_parts(parts: Iterable[Part]) -> list[tuple[Part, list[str]]]:
    """The lines of parts, in their order. Raises StorageError for one that is gone or unreadable.

    >>> read_parts([])
    []
    """
    wanted = list(parts)
    with ThreadPoolExecutor(_READERS) as readers:  # thousands of small objects: one by one takes minutes
        data = list(readers.map(lambda part: read_bytes(part.uri), wanted))
    return [(part, raw.decode().splitlines()) for part, raw in zip(wanted, data, strict=True)]


class PartWriter:
    """Appends lines to a folder from a thread of its own; what fails is told once and tried again.

    Args:
        folder: local or s3://.
        suffix: of the parts' names, e.g. "jsonl".
        every_s: the longest pause between two parts while lines come. The first part is written at once; the
            pauses grow to this with the age of the writer (1 % of it), so that a short run is seen early and
            a long one has few parts.
        tell: gets one line when writing fails for the first time, and one in the end if lines were lost.

    >>> writer = PartWriter("runs/lines", "txt", every_s=0.0)
    >>> writer.add("epoch 1"), writer.flush(10.0)
    (None, True)
    >>> [lines for _, lines in read_parts(list_parts("runs/lines"))]
    [['epoch 1']]
    >>> writer.close()
    True
    """

    def __init__(
        self,
        folder: str,
        suffix: str = "jsonl",
        every_s: float = 30.0,
        tell: Callable[[str], None] = log.warning,
    ) -> None:
        self.folder, self.suffix, self.every_s, self.tell = folder, suffix, every_s, tell
        self.failures, self.lost = 0, 0
        self._lines: list[str] = []
        self._sending = 0
        self._number = 0
        self._attempt: int | None = None
        self._changed = threading.Condition()
        self._now = self._closing = False
        self._began = time.monotonic()
        self._thread: threading.Thread | None = None

    @property
    def attempt(self) -> int | None:
        """The number of this writer among those of the folder, from 1; None until it has written."""
        return self._attempt

    def add(self, line: str) -> None:
        """Append a line, soon: it returns at once, whatever the store does."""
        with self._changed:
            self._lines.append(line)
            if len(self._lines) > _MOST_WAITING:
                self.lost += 1
                del self._lines[min(self._sending, len(self._lines) - 1)]
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="parts", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def flush(self, wait_s: float) -> bool:
        """Write what waits now, and wait for it so long; whether all is written."""
        with self._changed:
            self._now = True
            self._changed.notify_all()
            return self._changed.wait_for(lambda: not self._lines, wait_s)

    def close(self, wait_s: float = 30.0) -> bool:
        """Write what waits, end the thread, and tell what is lost; whether nothing is."""
        self.flush(wait_s)
        with self._changed:
            self._closing = True
            self.lost += len(self._lines)
            self._lines = []
            self._changed.notify_all()
        if self.lost:
            self.tell(f"{self.folder}: {self.lost} lines could not be written")
        return not self.lost

    def _work(self) -> None:
        pause = 0.0  # the first part is seen at once
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._lines or self._closing)
                self._changed.wait_for(lambda: self._now or self._closing, pause)
                if not self._lines:
                    if self._closing:
                        return
                    self._now = False
                    continue
                self._now = False
                lines = list(self._lines)
                self._sending = len(lines)
            written = self._write(lines)
            with self._changed:
                if written:
                    del self._lines[: len(lines)]
                    self._changed.notify_all()
                self._sending = 0
            if written:
                age = time.monotonic() - self._began
                pause = min(self.every_s, max(FIRST_PAUSE_S, 0.01 * age))
            else:
                pause = _AFTER_FAILURE_S

    def _write(self, lines: list[str]) -> bool:
        try:
            if self._attempt is None:
                make_dir(self.folder)
                names = [uri.rpartition("/")[2] for uri in list_files(self.folder)]
                found = [int(match[1]) for name in names if (match := _OF_ATTEMPT.fullmatch(name))]
                self._attempt = 1 + max(found, default=0)
            name = f"{self._attempt:04d}-{self._number + 1:06d}.{self.suffix}"
            write_bytes(join(self.folder, name), ("\n".join(lines) + "\n").encode())
        except (AnyReIDError, OSError, ValueError) as error:
            self.failures += 1
            if self.failures == 1:
                self.tell(f"{self.folder}: cannot be written ({error}); trying again, the work goes on")
            return False
        self._number += 1
        return True
