"""Converts a public checkpoint to a run folder that evaluates, indexes and serves like a trained one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from reid import storage
from reid.config import Config, fingerprint, override
from reid.config.addresses import shards_uri
from reid.data.shards.places import find_set
from reid.data.shards.shard_set import ShardSet
from reid.errors import DataError, StorageError
from reid.models.base import ReIDModel
from reid.models.registry import build_model
from reid.nn.parameters import parameter_counts
from reid.runs.convert.base import convert, label_counts, system_of
from reid.runs.describe import PUBLISHED
from reid.runs.folder import RunFolder, write_run
from reid.runs.identities import LabelMap, training_labels
from reid.runs.run import model_context
from reid.storage.checkpoints import read_state
from reid.storage.run_files import RUN_FILE

PLACEHOLDER = "placeholder"


@dataclass(frozen=True)
class PreparedRun:
    """A converted model that is not written yet."""

    config: Config  # with absolute paths
    model: ReIDModel
    labels: LabelMap
    info: dict[str, Any]  # for run.json
    key: str  # of the weights, the labels and what they are used with

    @property
    def uri(self) -> str:
        """The run folder's default place."""
        return storage.join(self.config.workdir, "train", self.config.name, f"converted-{self.key}")

    @property
    def summary(self) -> dict[str, Any]:
        """What was mapped and what was left out."""
        found: dict[str, Any] = self.info["converted"]
        return found


def prepare(config: Config, checkpoint: str) -> PreparedRun:
    """Read a checkpoint into the config's model. Nothing is written.

    Identities and cameras are counted in the checkpoint; a built shard set of these counts gives the labels,
    otherwise they are placeholders, with cameras 0, 1, ... as public data sets number them. Raises
    WeightsError when the checkpoint does not fit, ConfigError for a model that has no public checkpoints.
    """
    system = system_of(config.model.name)
    where = storage.absolute(checkpoint)
    state = read_state(where)
    classes, cameras = label_counts(state, system, where)
    labels, shards = _labels(config, classes, cameras)
    values = {"workdir": storage.absolute(config.workdir)}
    if shards is not None:
        values["data.shards"] = shards.root
    config = override(config, values)
    model = build_model(config.model, model_context(config, labels))
    found = convert(state, model, system, where)
    model.load_state_dict(found.state)
    converted = {
        "checkpoint": where,
        "system": system.title,
        "key": "",
        "identities": classes,
        "cameras": cameras,
        "labels": "placeholders" if shards is None else "shards",
        "tensors": len(state),
        "mapped": len(found.state),
        "ignored": [asdict(rule) for rule in found.ignored],
        "remarks": [*system.remarks(state), *_unusual(config, classes, cameras)],
    }
    key = fingerprint(
        _digest(model.state_dict()),
        {"classes": [list(one) for one in labels.classes], "cameras": list(labels.cameras)},
        config.data.model_dump(mode="json", exclude={"shards", "cache_mib", "reader"}),
        config.model,
    )
    info = {
        "name": config.name,
        "status": "finished",
        "selection": "converted",
        "best_metric": None,
        "epochs": 0,
        "steps": 0,
        "data_fingerprint": None if shards is None else shards.fingerprint,
        "generators": {} if shards is None else shards.manifest.generators,
        "parameters": parameter_counts(model),
        "converted": {**converted, "key": key},
    }
    return PreparedRun(config, model, labels, info, key)


def write(prepared: PreparedRun, to: str | None = None) -> tuple[RunFolder, bool]:
    """Write the run folder, unless it is there already: (folder, whether this call wrote it).

    Raises StorageError rather than replacing another run.
    """
    uri = prepared.uri if to is None else storage.absolute(to)
    if storage.exists(storage.join(uri, RUN_FILE)):
        there = RunFolder.open(uri)
        if there.info.get("converted", {}).get("key") != prepared.key:
            raise StorageError(f"{uri}: holds another run already; give --to another folder.")
        return there, False
    return write_run(uri, prepared.config, prepared.model, prepared.labels, prepared.info), True


def _labels(config: Config, classes: int, cameras: int) -> tuple[LabelMap, ShardSet | None]:
    """Of the built shard set when its counts are the checkpoint's; else placeholders, and None."""
    placeholders = LabelMap(tuple((PLACEHOLDER, i) for i in range(classes)), tuple(range(cameras)))
    place = find_set(shards_uri(config))  # several sets are an error, none is none
    try:
        shards = ShardSet.at(place)
    except DataError:
        return placeholders, None
    labels, _ = training_labels(shards, config.train.val.fraction, config.seed)
    fits = len(labels.classes) == classes and cameras in (0, len(labels.cameras))
    return (labels, shards) if fits else (placeholders, None)


def _unusual(config: Config, classes: int, cameras: int) -> list[str]:
    """A wrong preset may fit by shape; the counts of a public set tell."""
    known = PUBLISHED.get(config.data.name)
    if known is None or known == (classes, cameras):
        return []
    others = [name for name, pair in PUBLISHED.items() if pair == (classes, cameras)]
    hint = f"; {others[0]} has these: is it that set's checkpoint?" if others else "."
    return [
        f"It was trained on {classes} identities and {cameras} cameras, where {config.data.name} has "
        f"{known[0]} and {known[1]}{hint}"
    ]


def _digest(state: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
