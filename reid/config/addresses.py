"""Addresses of outputs: paths that contain the fingerprint of everything the output depends on."""

from __future__ import annotations

import hashlib
import importlib
from functools import lru_cache
from pathlib import Path

from reid import storage
from reid.config import Config, fingerprint
from reid.config.results import result_settings


@lru_cache
def source_hash(*names: str) -> str:
    """Hash of the source files of modules and packages; changed code gives another name."""
    digest = hashlib.sha256()
    for name in names:
        path = Path(importlib.import_module(name).__file__ or "")
        files = sorted(path.parent.rglob("*.py")) if path.name == "__init__.py" else [path]
        for file in files:
            digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def shards_uri(config: Config) -> str:
    """The shard set that this configuration builds and reads."""
    if config.data.shards:
        return storage.absolute(config.data.shards)
    sensors = config.data.sensors()
    settings = [config.build.content(), *([sensors] if sensors else [])]
    key = fingerprint(config.data.name, config.data.reader, *settings)
    return storage.join(shards_folder(config), key)


def shards_folder(config: Config) -> str:
    """The folder of all sets of a data set in this working folder, whatever the settings."""
    return storage.join(storage.absolute(config.workdir), "shards", config.data.name)


def run_fingerprint(config: Config, data_fingerprint: str, code: str = "") -> str:
    """The name of a training run, from everything that its weights depend on.

    `code` stands for the code that trains, see `reid.train.naming.numbers`; without it the fingerprint
    compares configurations, and names no folder.
    What follows from the number of workers, P and the learning rates, counts as it comes out; an elastic
    training's as it is written, with the range.
    """
    train, workers = config.train, config.train.workers
    rules: list[object] = []
    if isinstance(workers, int):
        train = train.for_ranks(max(1, workers))
    elif not isinstance(train.batch.identities, int):
        rules = [workers]
    return fingerprint(
        config.seed,
        result_settings(config.data),
        result_settings(config.model),
        result_settings(train),
        data_fingerprint,
        code,
        *rules,
    )


def run_uri(config: Config, data_fingerprint: str, code: str) -> str:
    """The run folder that this config trains into."""
    return storage.join(runs_folder(config), run_fingerprint(config, data_fingerprint, code))


def runs_folder(config: Config) -> str:
    """The folder of all runs of an experiment's name in this working folder, whatever the settings."""
    return storage.join(storage.absolute(config.workdir), "train", config.name)


def gallery_uri(config: Config, run: str) -> str:
    """The gallery of a run's vectors, or what `index.gallery` names: one, or a folder of them."""
    if config.index.gallery:
        return storage.absolute(config.index.gallery)
    return storage.join(storage.absolute(config.workdir), "gallery", gallery_name(config, run))


def gallery_name(config: Config, run: str) -> str:
    """What the gallery of a run is called among others."""
    return f"{config.data.name}-{run}"


def evaluation_uri(run: str, key: str) -> str:
    """The folder of one evaluation of a run."""
    return storage.join(run, "evaluate", key)


def tune_uri(config: Config, data_fingerprint: str, code: str) -> str:
    """The folder of a search campaign."""
    key = fingerprint(run_fingerprint(config, data_fingerprint, code), result_settings(config.tune))
    return storage.join(storage.absolute(config.workdir), "tune", config.name, key)
