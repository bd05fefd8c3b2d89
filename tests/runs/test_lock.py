"""One process writes a run; a dead one's lock is taken over, a living one's is respected."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from reid import storage
from reid.errors import StorageError, UsageError
from reid.runs.lock import LOCK_FILE, Owner, RunLock, process_space, read_owner


def silent(line: str) -> None:
    raise AssertionError(line)


def ended_pid() -> int:
    """Of a process that is gone."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def locked_by(run: Path, **fields: object) -> Owner:
    """A lock of another process, as it lies in the folder."""
    now = time.time()
    owner = Owner(
        "another", socket.gethostname(), os.getpid(), "train", now - 300, now - 4, 20.0, process_space()
    )
    owner = replace(owner, **fields)  # type: ignore[arg-type]
    run.mkdir(parents=True, exist_ok=True)
    (run / LOCK_FILE).write_text(json.dumps(asdict(owner)))
    return owner


def test_a_second_process_is_refused_with_owner_and_age(tmp_path: Path) -> None:
    locked_by(tmp_path)
    with pytest.raises(UsageError) as caught, RunLock(str(tmp_path), "train", silent):
        pass
    for words in (
        f"process {os.getpid()} on {socket.gethostname()} (train)",
        "for 5 min",
        "4 s ago",
        LOCK_FILE,
    ):
        assert words in str(caught.value)


def test_a_lock_is_given_back(tmp_path: Path) -> None:
    with RunLock(str(tmp_path / "run"), "train", silent):
        assert (tmp_path / "run" / LOCK_FILE).exists()
        with pytest.raises(UsageError), RunLock(str(tmp_path / "run"), "train", silent):
            pass
        assert (tmp_path / "run" / LOCK_FILE).exists()  # who is refused takes nothing away
    assert not (tmp_path / "run" / LOCK_FILE).exists()
    with RunLock(str(tmp_path / "run"), "train", silent):
        pass


def test_the_lock_of_a_process_that_ended_is_taken_over_at_once(tmp_path: Path) -> None:
    locked_by(tmp_path, pid=ended_pid())
    told: list[str] = []
    with RunLock(str(tmp_path), "train", told.append):
        pass
    assert len(told) == 1
    assert "taking over" in told[0]
    assert "has ended" in told[0]


def test_a_process_of_another_container_is_not_taken_for_ended(tmp_path: Path) -> None:
    locked_by(tmp_path, pid=ended_pid(), space="another container with this host name")
    with pytest.raises(UsageError, match="another process writes"), RunLock(str(tmp_path), "train", silent):
        pass


def test_a_lock_that_a_third_process_took_over_meanwhile_is_its(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked_by(tmp_path, pid=ended_pid())
    dead = RunLock._dead

    def slow(lock: RunLock, other: Owner) -> str:
        why = dead(lock, other)
        if other.token == "another":
            locked_by(tmp_path, token="third")
        return why

    monkeypatch.setattr(RunLock, "_dead", slow)
    with pytest.raises(UsageError, match="another process writes"), RunLock(str(tmp_path), "train", silent):
        pass
    assert (tmp_path / LOCK_FILE).exists()


def test_another_machines_lock_is_taken_over_when_it_gives_no_sign(tmp_path: Path) -> None:
    locked_by(tmp_path, host="elsewhere", beat=time.time() - 100, every_s=0.05)
    told: list[str] = []
    with RunLock(str(tmp_path), "train", told.append):
        pass
    assert "another sign" in told[0]
    assert "no sign of life" in told[1]


def test_another_machine_whose_clock_is_late_is_alive_while_it_beats(tmp_path: Path) -> None:
    owner = locked_by(tmp_path, host="elsewhere", beat=time.time() - 1000, every_s=0.2)
    beat = replace(owner, beat=owner.beat + 0.2)
    later = threading.Timer(0.2, lambda: storage.write_json(str(tmp_path / LOCK_FILE), asdict(beat)))
    later.start()
    with pytest.raises(UsageError, match="on elsewhere"), RunLock(str(tmp_path), "train", lambda line: None):
        pass
    later.join()


def until(true: Callable[[], bool]) -> None:
    """Wait for a thread of ours."""
    end = time.monotonic() + 20
    while not true() and time.monotonic() < end:
        time.sleep(0.05)
    assert true()


def test_a_held_lock_beats_and_tells_when_it_is_lost(tmp_path: Path) -> None:
    told: list[str] = []
    with RunLock(str(tmp_path), "train", told.append, every_s=0.05) as lock:
        until(lambda: (now := read_owner(lock.uri)) is not None and now.beat > lock.owner.beat)

        def lost() -> bool:
            locked_by(tmp_path)  # again, if a beat was just being written
            return bool(told)

        until(lost)
    assert told == [f"{tmp_path}: another process has taken over the lock of this run; stop one of them"]
    assert (tmp_path / LOCK_FILE).exists()  # the other's


def test_a_held_lock_that_is_removed_by_hand_is_written_again(tmp_path: Path) -> None:
    with RunLock(str(tmp_path), "train", silent, every_s=0.05) as lock:
        (tmp_path / LOCK_FILE).unlink()
        until(lambda: (now := read_owner(lock.uri)) is not None and now.token == lock.owner.token)


def test_a_lock_that_cannot_be_given_back_is_told_and_hides_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out(uri: str) -> None:
        raise StorageError(f"{uri}: the store is out")

    told: list[str] = []
    lock = RunLock(str(tmp_path), "train", told.append)
    monkeypatch.setattr(storage, "delete_file", out)
    with pytest.raises(ValueError, match="of the block"), lock:
        raise ValueError("of the block")
    assert len(told) == 1
    assert "cannot be given back" in told[0]
    assert "the store is out" in told[0]


def test_a_file_that_is_no_lock_does_not_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reid.runs.lock.SETTLE_S", 0)
    (tmp_path / LOCK_FILE).write_text("{")
    with RunLock(str(tmp_path), "train", silent):
        pass


@pytest.mark.slow
def test_a_lock_in_a_store(bucket: str) -> None:
    run = storage.join(bucket, "run")
    with RunLock(run, "train", silent), pytest.raises(UsageError), RunLock(run, "train", silent):
        pass
    assert not storage.exists(storage.join(run, LOCK_FILE))
