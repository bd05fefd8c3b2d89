"""TensorBoard: event files in the run folder, `tensorboard --logdir <run>/tensorboard`."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from reid import storage
from reid.train.tracking.tracker import Logged, RunFacts, Tracker

if TYPE_CHECKING:
    from tensorboardX.event_file_writer import EventsWriter
    from tensorboardX.proto.summary_pb2 import Summary

FOLDER = "tensorboard"
_FLUSH_S = 5.0
_LARGEST = 256 * 1024
"""Bytes of an event file on an object store, which takes only whole files: then another one is begun."""


class TensorBoard(Tracker):
    """Writes scalars, and the configuration as text.

    On disk a process appends to one file. For an object store the file lies in a temporary folder and is
    put again while it is small.

    Args:
        facts: of the run.
        every_s: the pause between two uploads to an object store.
    """

    name = "TensorBoard"

    def __init__(self, facts: RunFacts, every_s: float = 30.0) -> None:
        self.facts, self.every_s = facts, every_s
        self._folder = storage.join(facts.run, FOLDER)
        self._remote = storage.is_remote(facts.run)
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self._writer: EventsWriter | None = None
        self._files = 0
        self._saved = 0.0

    def begin(self, total: int) -> None:
        """Begin a file that hides what an earlier attempt logged beyond `total`."""
        from tensorboardX.proto.event_pb2 import Event, SessionLog
        from tensorboardX.summary import text

        self._close()
        writer = self._open()
        if total:
            start = SessionLog(status=SessionLog.START)
            writer.write_event(Event(wall_time=time.time(), step=total + 1, session_log=start))
        else:
            told = yaml.safe_dump({"facts": self.facts.facts, "config": self.facts.config}, sort_keys=False)
            self._write(text("configuration", "    " + told.replace("\n", "\n    ")), 0, time.time())
        self._save()

    def log(self, at: Logged) -> None:
        """A scalar a metric, at `total`."""
        from tensorboardX.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=name, simple_value=value) for name, value in at.metrics.items()]
        self._write(Summary(value=values), at.total, at.time)
        pause = self.every_s if self._remote else _FLUSH_S
        if time.monotonic() - self._saved >= pause:
            self._save()

    def end(self, why: str, final: Mapping[str, float]) -> None:
        """Close the file."""
        self._close()
        if self._scratch is not None:
            self._scratch.cleanup()
            self._scratch = None

    def _open(self) -> EventsWriter:
        from tensorboardX.event_file_writer import EventsWriter

        if self._remote and self._scratch is None:
            self._scratch = tempfile.TemporaryDirectory()
        folder = self._scratch.name if self._scratch else storage.absolute(self._folder)
        Path(folder).mkdir(parents=True, exist_ok=True)
        self._files += 1
        suffix = (
            f".{time.time_ns() % 10**9:09d}.{self._files:04d}"  # files of one second stay apart, in order
        )
        self._writer = EventsWriter(str(Path(folder) / "events"), suffix)
        return self._writer

    def _write(self, summary: Summary, total: int, when: float) -> None:
        from tensorboardX.proto.event_pb2 import Event

        writer = self._writer or self._open()
        writer.write_event(Event(wall_time=when, step=total, summary=summary))

    def _save(self) -> None:
        self._saved = time.monotonic()
        if self._writer is None:
            return
        self._writer.flush()
        if self._scratch is None:
            return
        newest = max(Path(self._scratch.name).iterdir(), key=lambda file: file.name)
        data = newest.read_bytes()
        storage.write_bytes(storage.join(self._folder, newest.name), data)
        if len(data) >= _LARGEST:
            self._writer.close()
            self._writer = None
            newest.unlink()

    def _close(self) -> None:
        self._save()
        if self._writer is not None:
            self._writer.close()
            self._writer = None
