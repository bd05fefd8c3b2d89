"""Which checkpoints of a run stay: the newest ones, and the best by a validation metric."""

from __future__ import annotations

from collections.abc import Mapping

from reid import storage
from reid.errors import StorageError
from reid.train.checkpoints.record import RECORD_FILE, CheckpointRecord, checkpoint_folders, is_complete


def best_of(records: Mapping[str, CheckpointRecord], metric: str) -> str | None:
    """The folder of the checkpoint with the best metric, the earliest of equals; None if none was measured.

    Only checkpoints at the end of an epoch count: the metrics of others are those of earlier weights.
    """
    measured = {
        folder: float(record.metrics[metric])
        for folder, record in sorted(records.items())
        if metric in record.metrics and record.step == 0
    }
    return max(measured, key=lambda folder: measured[folder]) if measured else None


def complete_records(run: str) -> dict[str, CheckpointRecord]:
    """The records of a run's complete checkpoints by folder, the newest first, without unreadable ones."""
    found = {}
    for folder in checkpoint_folders(run):
        if is_complete(folder):
            try:
                found[folder] = CheckpointRecord.read(folder)
            except StorageError:  # reading tells it, when it matters
                continue
    return found


def remove_surplus(run: str, keep: int, metric: str) -> list[str]:
    """Remove complete checkpoints beyond the newest `keep` and the best one; return the removed folders."""
    records = complete_records(run)
    kept = {*list(records)[:keep], best_of(records, metric)}
    surplus = [folder for folder in records if folder not in kept]
    for folder in surplus:
        remove(folder)
    return surplus


def remove_incomplete(run: str) -> list[str]:
    """Remove what killed processes left half-written; return the folders. Call it before any new is begun."""
    left = [folder for folder in checkpoint_folders(run) if not is_complete(folder)]
    for folder in left:
        remove(folder)
    return left


def remove_after(uri: str) -> list[str]:
    """Remove the checkpoints of a run that are later than the one at `uri`; return their folders.

    For a run that goes on from an earlier one since these are damaged: they would count as the newest.
    """
    run_checkpoints, _, name = uri.rpartition("/")
    later = [folder for folder in storage.list_folders(run_checkpoints) if folder.rpartition("/")[2] > name]
    for folder in later:
        remove(folder)
    return later


def remove(folder: str) -> None:
    """Remove a checkpoint; its record first, so that none ever looks complete without its files."""
    storage.delete_file(storage.join(folder, RECORD_FILE))
    storage.delete_folder(folder)
