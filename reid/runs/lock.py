"""A run folder is written by one process at a time: LOCK in it names its owner and when it was last alive.

Local files are created by one process only. Not every store can refuse a second writer, so there the lock is
written and read again after a pause: of two that write at the same time, the later one keeps it.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from reid import storage
from reid.errors import StorageError, UsageError

LOCK_FILE = "LOCK"
BEAT_S = 20.0
MISSED = 3
"""Beats after which an owner is taken for dead."""
SETTLE_S = 1.0
"""How long after its writing a lock in a store is read again."""

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Owner:
    """Who holds a lock: host, process, what it does, and Unix times of its begin and its last beat."""

    token: str
    host: str
    pid: int
    job: str
    started: float
    beat: float
    every_s: float
    space: str = ""
    """Where its process number counts, as `process_space` says; containers may share a host name."""

    def __str__(self) -> str:
        now = time.time()
        return (
            f"process {self.pid} on {self.host} ({self.job}), for {_age(now - self.started)}; its last sign "
            f"of life was {_age(now - self.beat)} ago"
        )


class RunLock:
    """Holds the lock of a run folder within a `with` block, and renews it from a thread.

    Args:
        run: uri of the run folder.
        job: what the process does, for others.
        tell: gets a line when the lock of a dead process is taken over, and when the lock is lost.
        every_s: seconds between two beats.

    Raises UsageError with owner and age when another process holds it.

    >>> with RunLock("runs/train/mine/0001", "train", print):
    ...     storage.exists("runs/train/mine/0001/LOCK")
    True
    """

    def __init__(self, run: str, job: str, tell: Tell, every_s: float = BEAT_S) -> None:
        self.run, self.uri, self.tell, self.every_s = run, storage.join(run, LOCK_FILE), tell, every_s
        now = time.time()
        host, space = socket.gethostname(), process_space()
        self.owner = Owner(uuid.uuid4().hex, host, os.getpid(), job, now, now, every_s, space)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="run-lock", daemon=True)

    def __enter__(self) -> RunLock:
        while not self._create():
            other = read_owner(self.uri)
            if other is None:  # given back just now, or a torn file
                storage.delete_file(self.uri)
                continue
            why = self._dead(other)
            if not why:
                raise UsageError(
                    f"{self.run}: another process writes this run: {other}. Wait for it, stop it, or train "
                    f"under another name; if it is surely gone, remove {self.uri}."
                )
            if not _is(read_owner(self.uri), other):  # a third process was faster
                continue
            self.tell(f"{self.run}: taking over from {other}: {why}")
            storage.delete_file(self.uri)
        self._thread.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self._over.set()
        self._thread.join()
        try:
            if _is(read_owner(self.uri), self.owner):
                storage.delete_file(self.uri)
        except StorageError as failure:  # what the block did is done, or has an error of its own
            self.tell(
                f"{self.run}: its lock cannot be given back ({failure}); it is taken over when asked for"
            )

    def _create(self) -> bool:
        """Write the lock where there is none; whether it is ours."""
        content = json.dumps(asdict(self.owner), indent=1).encode()
        if not storage.is_remote(self.uri):
            storage.make_dir(self.run)
            try:
                handle = os.open(storage.absolute(self.uri), os.O_CREAT | os.O_EXCL | os.O_WRONLY)
            except FileExistsError:
                return False
            try:
                with storage.refusals_told(self.uri), os.fdopen(handle, "wb") as stream:
                    stream.write(content)
            except BaseException:  # half a lock is nobody's
                storage.delete_file(self.uri)
                raise
            return True
        if storage.exists(self.uri):
            return False
        storage.write_bytes(self.uri, content)
        time.sleep(SETTLE_S)
        return _is(read_owner(self.uri), self.owner)

    def _dead(self, other: Owner) -> str:
        """Why its owner is dead, in words; "" for one that lives."""
        here = (self.owner.host, self.owner.space)
        if (other.host, other.space) == here and not _runs(other.pid):
            return "that process has ended"
        patience = MISSED * other.every_s
        if abs(time.time() - other.beat) <= patience:
            return ""
        # The clocks of two machines may differ: a beat that changes is alive whatever its time.
        self.tell(f"{self.run}: locked by {other}; waiting {patience:.0f} s for another sign")
        time.sleep(patience)
        now = read_owner(self.uri)
        return "" if now is not None and now != other else f"no sign of life for {patience:.0f} s"

    def _beat(self) -> None:
        told = False
        while not self._over.wait(self.every_s):
            try:
                other = read_owner(self.uri)
                if other is not None and other.token != self.owner.token:  # None: removed by hand, or torn
                    self.tell(
                        f"{self.run}: another process has taken over the lock of this run; stop one of them"
                    )
                    return
                storage.write_json(self.uri, asdict(replace(self.owner, beat=time.time())))
            except StorageError as error:  # what only tells may not end the training
                if not told:
                    self.tell(f"{self.run}: its lock cannot be renewed for now ({error})")
                told = True


def process_space() -> str:
    """Names the space of this process's number: the start of the machine and the container; "" if unknown.

    >>> process_space() == process_space()
    True
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:  # systems without /proc
        return ""


def read_owner(uri: str) -> Owner | None:
    """Who holds the lock at this uri; None without one, or for a file that is no lock."""
    try:
        if not storage.exists(uri):
            return None
        return Owner(**storage.read_json(uri))
    except (TypeError, StorageError):
        if not storage.exists(uri):
            return None
        time.sleep(SETTLE_S)  # its owner may be writing it
        try:
            return Owner(**storage.read_json(uri))
        except (TypeError, StorageError):
            return None


def _is(owner: Owner | None, ours: Owner) -> bool:
    return owner is not None and owner.token == ours.token


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _age(seconds: float) -> str:
    whole = max(round(seconds), 0)
    if whole < 120:
        return f"{whole} s"
    return f"{whole // 60} min" if whole < 7200 else f"{whole // 3600} h {whole % 3600 // 60} min"
