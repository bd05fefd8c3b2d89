"""Train on Ray Train: DDP workers around `reid.train.loop`, resumable by running the same config again.

The run folder's name is a fingerprint of what changes the result, and its checkpoints lie inside it, so a
name never resumes another configuration. `train.workers=0` trains in this process without Ray.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pipelines.progress import Say, say
from pipelines.training.in_process import train_here
from pipelines.training.on_ray import train_on_ray
from reid import storage
from reid.config import Config, override
from reid.config.addresses import run_uri, shards_uri
from reid.data.shards.shard_set import ShardSet
from reid.errors import DataError
from reid.evaluate.protocols.choice import check_name
from reid.preflight import preflight
from reid.runs.folder import RunFolder
from reid.runs.identities import training_labels
from reid.runs.lock import RunLock
from reid.runs.metrics.table import metrics_folder
from reid.storage.run_files import RUN_FILE
from reid.train.checkpoints.record import Subject, labels_fingerprint
from reid.train.checkpoints.retention import complete_records, remove_surplus
from reid.train.naming.numbers import code_fingerprint
from reid.train.naming.origin import Origin, begin_run
from reid.train.naming.relatives import parent_of, relative_lines, relatives
from reid.train.shard_sensors import sensors_of
from reid.train.validation.checks import FIELD as VAL_PROTOCOL


@dataclass(frozen=True)
class TrainResult:
    """The run folder, and whether this call had to train."""

    run: RunFolder
    trained: bool


def train_run(
    config: Config,
    out: Say = say,
    ready: Callable[[], None] = lambda: None,
    continue_from: str | None = None,
) -> TrainResult:
    """Train the config's run, or return it when it is finished. Raises TrainingError with the first cause.

    What `preflight` refuses is raised before any work, and UsageError if another process writes the run.
    `ready` starts Ray; it is called after that, if the run trains in Ray's workers. `continue_from` is the
    uri of a run of another configuration whose newest checkpoint this one begins with.
    """
    try:
        config, uri = resolve_run(config)
    except DataError:
        preflight(config, "train")  # a set that cannot be built is not told to be built
        raise
    if storage.exists(storage.join(uri, RUN_FILE)):
        return TrainResult(RunFolder.open(uri), trained=False)
    for line in preflight(config, "train"):
        out(f"train: {line}")
    with RunLock(uri, "train", lambda line: out(f"train: {line}")):
        if storage.exists(storage.join(uri, RUN_FILE)):  # whoever held the lock has finished it
            return TrainResult(RunFolder.open(uri), trained=False)
        _begin(config, uri, out, continue_from)
        if config.train.workers == 0:
            train_here(config, uri, out)
        else:
            ready()
            train_on_ray(config, uri, out)
        # The last one stays, so that a longer training can go on from it.
        remove_surplus(uri, 1, config.train.checkpoint.best)
    return TrainResult(RunFolder.open(uri), trained=True)


def _begin(config: Config, uri: str, out: Say, continue_from: str | None) -> None:
    """Record what the run begins from; tell which other run it could go on from, if it is new."""
    shards = ShardSet.open(str(config.data.shards))
    labels, _ = training_labels(shards, config.train.val.fraction, config.seed)
    subject = Subject(uri.rpartition("/")[2], config.model.name, labels_fingerprint(labels))
    parent = None
    if complete_records(uri):
        if continue_from:
            out("train: --continue is not needed: this run goes on from its own checkpoints")
    elif continue_from:
        parent = parent_of(continue_from, config, subject, shards.fingerprint)
        out(f"train: continuing {parent.run} from epoch {parent.epoch}, step {parent.step}, with another")
        for line in parent.differences:
            out(f"train:   {line}")
        known = Origin.read(uri)
        if known is None or known.parent is None or known.parent.run != parent.run:  # not over its own rows
            _copy_metrics(parent.run, uri)
    elif Origin.read(uri) is None:
        for line in relative_lines(relatives(config, uri, shards.fingerprint)):
            out(f"train: {line}")
    begin_run(uri, config, subject, shards.fingerprint, parent)


def _copy_metrics(parent: str, run: str) -> None:
    """The curve of a continued run begins with its parent's."""
    for file in storage.list_files(metrics_folder(parent)):
        copy = storage.join(metrics_folder(run), file.rpartition("/")[2])
        storage.write_bytes(copy, storage.read_bytes(file))


def resolve_run(config: Config) -> tuple[Config, str]:
    """The config with absolute paths (workers run elsewhere), and its run folder.

    The run records how its set's deep pictures became 8 bits, since it will read those of queries so. Raises
    ConfigError for an unknown `train.val.protocol` and for other such settings, before any worker starts.
    """
    check_name(config.train.val.protocol, VAL_PROTOCOL)
    shards = ShardSet.open(shards_uri(config))
    sensors = sensors_of(config, shards)
    resolved = override(
        config,
        {
            "data.shards": shards.root,
            "data.range": sensors.get("range", {}),
            "data.fourth_band": sensors.get("fourth_band", "drop"),
            "workdir": storage.absolute(config.workdir),
            "model": _absolute_weights(config),
            "train.init_from": config.train.init_from and storage.absolute(config.train.init_from),
        },
    )
    return resolved, run_uri(resolved, shards.fingerprint, code_fingerprint(resolved))


def _absolute_weights(config: Config) -> dict[str, Any]:
    """Model section with run: and file weights made absolute, so that workers elsewhere find them."""
    section = config.model.model_dump(mode="json")
    spec = section.get("weights")
    if isinstance(spec, str) and spec.startswith("run:"):
        section["weights"] = f"run:{storage.absolute(spec.removeprefix('run:'))}"
    elif isinstance(spec, str) and storage.exists(spec):
        section["weights"] = storage.absolute(spec)
    return section
