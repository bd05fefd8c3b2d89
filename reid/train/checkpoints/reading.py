"""From which checkpoint a run goes on: the newest that is whole; a damaged one is named, with the reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from reid import storage
from reid.errors import StorageError, WeightsError
from reid.storage.copies import download, measured
from reid.train.checkpoints.record import (
    RECORD_FILE,
    CheckpointRecord,
    StoredFile,
    Subject,
    checkpoint_folders,
    checkpoints_folder,
    is_complete,
)
from reid.train.checkpoints.retention import best_of, complete_records
from reid.train.state import BEST_FILE, BEST_OPTIMIZER_FILE, OPTIMIZER_FILE, WEIGHTS_FILE

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Resumed:
    """A checkpoint at hand: its uri, its record, and a folder of this machine for `reid.train.loop.train`."""

    uri: str
    record: CheckpointRecord
    folder: Path


def resume_from(
    run: str, subject: Subject | None, metric: str | None, into: Path, tell: Tell
) -> Resumed | None:
    """Get the newest whole checkpoint of a run, with the best weights until then.

    Args:
        run: uri of the run folder.
        subject: what the checkpoint must be of; None accepts any.
        metric: the validation metric of the best weights; None leaves them out.
        into: a folder of this machine.
        tell: gets a line for every checkpoint that cannot be used.

    Returns:
        None when the run has no complete checkpoint.

    Raises WeightsError when all complete ones are damaged, or for one of another model or label map.
    """
    broken = []
    for uri in checkpoint_folders(run):
        if not is_complete(uri):
            tell(f"{uri}: not complete (its writer was stopped); taking the one before")
            continue
        try:
            record = CheckpointRecord.read(uri)
            folder = into / uri.rpartition("/")[2]
            fetch(uri, record, folder)
        except (StorageError, WeightsError) as error:
            is_complete(uri)  # raises if the store is out: then nothing is known of the checkpoint
            broken.append(str(error))
            tell(f"{error} Taking the checkpoint before it.")
            continue
        if subject is not None:
            subject.check(record.subject, uri)
        if metric is not None:
            _add_best(run, record, metric, folder, tell)
        return Resumed(uri, record, folder)
    if broken:
        raise WeightsError(
            f"{checkpoints_folder(run)}: none of {len(broken)} checkpoints can be used. Restore their files, "
            f"or remove that folder to train from the beginning. The newest: {broken[0]}"
        )
    return None


def fetch(uri: str, record: CheckpointRecord, into: Path) -> None:
    """Bring a checkpoint's files into a folder of this machine. Raises WeightsError for a damaged one."""
    into.mkdir(parents=True, exist_ok=True)
    for name, stored in record.files.items():
        _fetch_file(storage.join(uri, name), stored, into / name)


def _fetch_file(uri: str, stored: StoredFile, path: Path) -> None:
    if storage.is_remote(uri):
        size, digest = download(uri, path)
    else:
        source = Path(storage.absolute(uri))
        if not source.exists():
            raise WeightsError(f"{uri}: missing, though {RECORD_FILE} beside it lists it.")
        size, digest = measured(source)
        path.unlink(missing_ok=True)
        path.symlink_to(source)
    if size != stored.size:
        raise WeightsError(f"{uri}: damaged: {size} bytes, and {stored.size} were written.")
    if digest != stored.sha256:
        raise WeightsError(f"{uri}: damaged: its SHA-256 is not the one that {RECORD_FILE} records.")


def _add_best(run: str, record: CheckpointRecord, metric: str, folder: Path, tell: Tell) -> None:
    """The best weights until this checkpoint as BEST_FILE, if one was measured and is whole."""
    until = {
        uri: r for uri, r in complete_records(run).items() if (r.epoch, r.step) <= (record.epoch, record.step)
    }
    best = best_of(until, metric)
    if best is None:
        return
    try:
        for name, here in ((WEIGHTS_FILE, BEST_FILE), (OPTIMIZER_FILE, BEST_OPTIMIZER_FILE)):
            if name in until[best].files:
                _fetch_file(storage.join(best, name), until[best].files[name], folder / here)
    except (StorageError, WeightsError) as error:
        (folder / BEST_FILE).unlink(missing_ok=True)
        tell(f"{error} These were the best weights by {metric}; the best of the further epochs are kept.")
