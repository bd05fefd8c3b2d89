"""Checkpoints are copied to the CPU by the training and written behind its back, one at a time."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from reid import storage
from reid.errors import StorageError
from reid.storage.copies import flush, measured, upload
from reid.train.checkpoints.record import (
    RECORD_FILE,
    CheckpointRecord,
    StoredFile,
    Subject,
    checkpoints_folder,
)
from reid.train.checkpoints.retention import remove_surplus
from reid.train.reports import CheckpointPlace, Save

Tell = Callable[[str], None]
TOLD_AFTER_S = 2.0
"""How long a step may wait for the checkpoint before it without a line."""
OTHERS_S = 600.0
"""How long rank 0 waits for the files of other ranks."""
AFTER_ERROR_S = 5.0
"""The same once the training has ended by an error: the other ranks may have ended, too."""
_ASK_EVERY_S = 0.5


class CheckpointWriter:
    """Writes the due checkpoints of one rank, within a `with` block that waits for the last one.

    An error that leaves the block stays the error: what the writer cannot finish then is only told.

    Args:
        run: uri of the run folder.
        subject: what they are of.
        keep: how many of the newest stay, besides the best by `metric`.
        metric: the validation metric.
        tell: gets lines for a person; on rank 0, and failures on every rank.
        rank, world: this rank, and how many there are. Rank 0 writes the record, after the files of all.
    """

    def __init__(
        self, run: str, subject: Subject, keep: int, metric: str, tell: Tell, rank: int = 0, world: int = 1
    ) -> None:
        self.run, self.subject, self.keep, self.metric, self.tell = run, subject, keep, metric, tell
        self.rank, self.world = rank, world
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._last: Future[None] | None = None
        self._give_up = math.inf  # a time of time.monotonic

    def __enter__(self) -> CheckpointWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if error is None:
            self.close()
            return
        self._give_up = time.monotonic() + AFTER_ERROR_S
        try:
            self.close()
        except Exception as failure:
            self.tell(f"train: the last checkpoint is not written either: {failure}")

    def begin(self, at: CheckpointPlace, save: Save) -> None:
        """Copy the state now and have it written; wait first, if the last one is not yet.

        Raises StorageError when the last one could not be written.
        """
        self.wait(f"the step waits for the checkpoint before {at.name} to be written")
        self._last = self._thread.submit(self._write, at, save.copied(), save.on_every_rank)

    def when_written(self, act: Callable[[], None]) -> None:
        """Call `act` as soon as what was begun is complete, in the order of the calls; not if it fails."""
        if self._last is None or self._last.done():
            self.wait()
            act()
            return
        before = self._last

        def follow() -> None:
            before.result()
            act()

        self._last = self._thread.submit(follow)

    def wait(self, why: str = "waiting for the last checkpoint to be written") -> None:
        """Until all that was begun is complete. Raises what went wrong, once."""
        last, began = self._last, time.monotonic()
        if last is None:
            return
        while not _ended(last, TOLD_AFTER_S):
            if time.monotonic() - began < 2 * TOLD_AFTER_S and self.rank == 0:
                self.tell(f"train: {why}")
        self._last = None
        last.result()

    def close(self) -> None:
        """Wait, and end the thread."""
        try:
            self.wait()
        finally:
            self._thread.shutdown()

    def _write(self, at: CheckpointPlace, write: Callable[[Path], bool], on_every_rank: bool) -> None:
        folder = storage.join(checkpoints_folder(self.run), at.name)
        if self.rank == 0:  # of an earlier time at this step: it does not describe the files that follow
            storage.delete_file(storage.join(folder, RECORD_FILE))
        files = self._files(folder, write)
        if self.rank != 0:
            if files:
                part = {name: asdict(file) for name, file in files.items()}
                storage.write_json(storage.join(folder, _part(self.rank)), part)
            return
        if on_every_rank:
            files |= self._files_of_others(folder)
        metrics = {k: v for k, v in at.metrics.items() if isinstance(v, int | float)}
        CheckpointRecord(self.subject, at.epoch, at.step, at.total, self.world, metrics, files).write(folder)
        if on_every_rank:  # or they would be taken for new ones when training comes here again
            for rank in range(1, self.world):
                storage.delete_file(storage.join(folder, _part(rank)))
        remove_surplus(self.run, self.keep, self.metric)

    def _files(self, folder: str, write: Callable[[Path], bool]) -> dict[str, StoredFile]:
        """Write this rank's files to the checkpoint's folder, and measure them."""
        if not storage.is_remote(folder):
            here = Path(storage.absolute(folder)) / f"of-rank-{self.rank}"
            found = {}
            with storage.refusals_told(str(here)):
                if not write(here):
                    return {}
                for path in sorted(here.iterdir()):
                    flush(path)
                    found[path.name] = StoredFile(*measured(path))
                    path.rename(here.parent / path.name)
            here.rmdir()
            return found
        with tempfile.TemporaryDirectory(prefix="anyreid-checkpoint-") as scratch:
            with storage.refusals_told(scratch):
                if not write(Path(scratch)):
                    return {}
            paths = sorted(Path(scratch).iterdir())
            return {path.name: StoredFile(*upload(path, storage.join(folder, path.name))) for path in paths}

    def _files_of_others(self, folder: str) -> dict[str, StoredFile]:
        files: dict[str, StoredFile] = {}
        until = time.monotonic() + OTHERS_S
        for rank in range(1, self.world):
            part = storage.join(folder, _part(rank))
            while not storage.exists(part):
                if time.monotonic() > min(until, self._give_up):
                    raise StorageError(f"{folder}: rank {rank} has not written its part of it in time.")
                time.sleep(_ASK_EVERY_S)
            files |= {name: StoredFile(**file) for name, file in storage.read_json(part).items()}
        return files


def _ended(work: Future[None], seconds: float) -> bool:
    until = time.monotonic() + seconds
    while not work.done() and time.monotonic() < until:
        time.sleep(0.01)
    return work.done()


def _part(rank: int) -> str:
    return f"part-rank-{rank:04d}.json"
