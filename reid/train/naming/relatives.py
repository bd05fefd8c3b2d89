"""The runs that a changed configuration could go on from: those of its name, on its data, with its model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from reid import storage
from reid.config import Config
from reid.config.addresses import runs_folder
from reid.config.loading import load
from reid.config.results import differences, result_settings
from reid.errors import AnyReIDError, UsageError
from reid.storage.run_files import RUN_FILE
from reid.train.checkpoints.record import CheckpointRecord, Subject
from reid.train.checkpoints.retention import complete_records
from reid.train.naming.numbers import code_fingerprint
from reid.train.naming.origin import Origin, Parent

MOST, SHOWN = 100, 3
"""Folders that are looked at, and relatives that are told."""


@dataclass(frozen=True)
class Relative:
    """A run that could be continued: its newest checkpoint, and what differs."""

    run: str
    newest: CheckpointRecord
    finished: bool
    differences: tuple[str, ...]

    @property
    def state(self) -> str:
        """In words."""
        return f"{'finished' if self.finished else 'interrupted'} after {self.newest.place}"


def relatives(config: Config, run: str, data: str) -> list[Relative]:
    """The other runs of this name with equal data, model and seed that have a checkpoint, the nearest first.

    Args:
        config: resolved.
        run: uri of this configuration's own run.
        data: fingerprint of the shard set.
    """
    found = []
    for folder in storage.list_folders(runs_folder(config))[:MOST]:
        if folder == run:
            continue
        try:
            known = _relative(config, folder, data)
        except AnyReIDError:  # a folder of another version, or broken: no help
            continue
        if known is not None:
            found.append(known)
    return sorted(found, key=lambda one: (len(one.differences), -one.newest.total, one.run))


def relative_lines(found: list[Relative]) -> list[str]:
    """For a person: what could be continued, in what it differs, and how to do it."""
    if not found:
        return []
    lines = [
        "this configuration has no run yet; of this name there are, on the same data with the same model:"
    ]
    for one in found[:SHOWN]:
        lines += [f"  {one.run}: {one.state}", *(f"    {line}" for line in one.differences)]
    if len(found) > SHOWN:
        lines.append(f"  and {len(found) - SHOWN} more")
    return [*lines, f"training anew; to go on from one instead: --continue {found[0].run}"]


def parent_of(uri: str, config: Config, subject: Subject, data: str) -> Parent:
    """The run at `uri` as the parent of this configuration's run.

    Raises UsageError when it has no checkpoint or nothing is left to train, WeightsError for a run of another
    model or of other labels.
    """
    run = storage.absolute(uri)
    newest = next(iter(complete_records(run).values()), None)
    origin = Origin.read(run)
    if newest is None or origin is None:
        raise UsageError(
            f"--continue {uri}: no run with a complete checkpoint. Name one of {runs_folder(config)}, "
            "or start from a finished run's weights by train.init_from."
        )
    subject.check(newest.subject, run)
    if newest.epoch >= config.train.epochs:
        raise UsageError(
            f"--continue {uri}: it has {newest.epoch} epochs, and train.epochs={config.train.epochs} leaves "
            "nothing to train. Raise train.epochs."
        )
    theirs = load(storage.read_json(storage.join(run, "config.json")))
    return Parent(run, newest.epoch, newest.total, tuple(_differences(config, theirs, origin, data)))


def _relative(config: Config, run: str, data: str) -> Relative | None:
    origin = Origin.read(run)
    if origin is None or origin.data != data:
        return None
    theirs = load(storage.read_json(storage.join(run, "config.json")))
    if theirs.seed != config.seed or result_settings(theirs.model) != result_settings(config.model):
        return None
    newest = next(iter(complete_records(run).values()), None)
    if newest is None:
        return None
    differ = tuple(_differences(config, theirs, origin, data))
    return Relative(run, newest, storage.exists(storage.join(run, RUN_FILE)), differ)


def _differences(config: Config, theirs: Config, origin: Origin, data: str) -> list[str]:
    found = [str(one) for one in differences(_settings(config), _settings(theirs))]
    if origin.data != data:
        found.append(f"data: shard set {origin.data} there, {data} here")
    if origin.code != code_fingerprint(theirs):
        found.append("code: the source computes other numbers than it did there")
    return found


def _settings(config: Config) -> dict[str, Any]:
    sections = ("data", "model", "train")
    return {"seed": config.seed, **{name: result_settings(getattr(config, name)) for name in sections}}
