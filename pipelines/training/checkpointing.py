"""The checkpoints of one process of a training: where it goes on from, and how it keeps its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pipelines.progress import Say
from reid.config import Config
from reid.errors import StorageError
from reid.train.checkpoints.reading import Resumed, fetch, resume_from
from reid.train.checkpoints.record import CheckpointRecord
from reid.train.checkpoints.retention import remove_after, remove_incomplete
from reid.train.checkpoints.writing import CheckpointWriter
from reid.train.naming.origin import ORIGIN_FILE, Origin

Agree = Callable[[str | None], str | None]
"""What rank 0 has, on every rank."""


def alone(uri: str | None) -> str | None:
    """For one process without others."""
    return uri


def resume(
    config: Config, run: str, into: Path, tell: Say, rank: int = 0, agree: Agree = alone
) -> Path | None:
    """The state to go on from, in a folder of this machine; None to begin. The same for every rank.

    It is of the run's own newest whole checkpoint, or else of the run that it continues. Rank 0 chooses,
    tells it, and removes what a killed process left half-written, and damaged later ones. Raises as
    `resume_from`.
    """
    found = _choose(config, run, into, tell) if rank == 0 else None
    uri = agree(found.uri if found else None)
    if found is not None or uri is None:
        return found.folder if found else None
    fetch(uri, CheckpointRecord.read(uri), into)
    return into


def writer(config: Config, run: str, tell: Say, rank: int = 0, world: int = 1) -> CheckpointWriter:
    """What keeps the checkpoints of a rank."""
    settings = config.train.checkpoint
    subject = _origin(run).subject
    return CheckpointWriter(run, subject, settings.keep, settings.best, tell, rank, world)


def _choose(config: Config, run: str, into: Path, tell: Say) -> Resumed | None:
    origin, metric = _origin(run), config.train.checkpoint.best

    def told(line: str) -> None:
        tell(f"train: {line}")

    found = resume_from(run, origin.subject, metric, into, told)
    remove_incomplete(run)
    if found is not None:
        for folder in remove_after(found.uri):
            told(f"{folder}: removed, since it cannot be used; its steps are trained again")
    if found is None and origin.parent is not None:
        # Without the parent's best weights: its metric may be of another protocol or of averaged weights,
        # and an interruption would lose them, since they are in no checkpoint of this run.
        found = resume_from(origin.parent.run, origin.subject, None, into, told)
    if found is not None:
        tell(f"train: resuming from {found.uri} ({found.record.place})")
    return found


def _origin(run: str) -> Origin:
    origin = Origin.read(run)
    if origin is None:
        raise StorageError(f"{run}: {ORIGIN_FILE} is missing; start the training again.")
    return origin
