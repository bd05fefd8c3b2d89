"""Addresses of outputs: paths that contain the fingerprint of everything the output depends on."""

from __future__ import annotations

import hashlib
import importlib
from functools import lru_cache
from pathlib import Path

from reid import storage
from reid.config import Config, fingerprint

_PLACEMENT = {
    "workers",
    "gpus_per_worker",
    "cpus_per_worker",
    "loader_threads",
    "checkpoint_every",
    "max_failures",
}
"""Train fields that say where and how safely, not what: they do not change a run's name."""
_NOT_SEEN = {"shards", "cache_mib", "reader", "range", "fourth_band"}
"""Data fields that say where pictures are and how they are kept; `sensors()` adds the last two if set."""


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


def run_fingerprint(config: Config, data_fingerprint: str) -> str:
    """The name of a training run, from everything that its weights depend on."""
    return fingerprint(
        config.seed,
        config.data.model_dump(mode="json", exclude=_NOT_SEEN),
        *([sensors] if (sensors := config.data.sensors()) else []),
        config.model,
        config.train.model_dump(mode="json", exclude=_PLACEMENT),
        data_fingerprint,
        source_hash(f"reid.models.{config.model.name}", "reid.nn", "reid.train"),
    )


def run_uri(config: Config, data_fingerprint: str) -> str:
    """The run folder that this config trains into."""
    key = run_fingerprint(config, data_fingerprint)
    return storage.join(storage.absolute(config.workdir), "train", config.name, key)


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


def tune_uri(config: Config, data_fingerprint: str) -> str:
    """The folder of a search campaign."""
    key = fingerprint(
        run_fingerprint(config, data_fingerprint), config.tune.model_dump(exclude={"concurrent"})
    )
    return storage.join(storage.absolute(config.workdir), "tune", config.name, key)
