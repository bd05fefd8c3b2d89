"""The smallest set and model that take every step: eight rendered identities, four captures each, 32x32."""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from pipelines.dataset.build import build
from pipelines.training.train import train_run
from reid.config import Config, load
from reid.data.shards.shard_set import ShardSet
from reid.runs.run import Run, load_run

TREE: dict[str, Any] = {
    "name": "tiny",
    "device": "cpu",  # the GPUs of the tests' Ray are names only
    "data": {
        "name": "tiny",
        "reader": {
            "name": "synthetic",
            "modalities": "rgb+nir+tir+text",
            "train_identities": 4,
            "test_identities": 4,
            "cameras": 2,
            "captures": 2,
            "height": 32,
            "width": 32,
        },
        "modalities": "rgb+nir+tir+sketch+text",
        "height": 32,
        "width": 32,
    },
    "build": {
        "rows_per_shard": 8,
        "rows_per_group": 4,
        "generate": {"sketch": {"generator": "sketch_dodge", "params": {}}},
    },
    "model": {
        "name": "baseline",
        "fusion": "mean",
        "weights": "random",
        "tower": {"arch": None, "patch": 8, "width": 32, "layers": 1, "heads": 2, "dim": 16},
        "text": {"width": 16, "layers": 1, "heads": 2},
        "camera_embedding": False,
        "modality_embedding": True,
    },
    "train": {
        "epochs": 1,
        "workers": 0,
        "steps_per_epoch": 2,
        "loader": {"kind": "none"},
        "batch": {"identities": 2, "instances": 2},
    },
    "evaluate": {"gallery": "rgb", "actors": 0, "queries_shown": 2},
    "ray": {"num_cpus": 3, "object_store_mib": 100},
}


def silent(line: str) -> None:
    """Where progress lines go that no test looks at."""


def config_of(workdir: Path | str, *overrides: str) -> Config:
    """The tiny configuration in a working folder."""
    return load(copy.deepcopy(TREE), [f"workdir={workdir}", *overrides])


def write_yaml(folder: Path, workdir: Path | str | None = None) -> str:
    """The same as a YAML file, for the command line."""
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump({**TREE, "workdir": str(workdir or folder / "work")}))
    return str(path)


@cache
def built(workdir: Path, *overrides: str) -> ShardSet:
    """The tiny shard set; needs Ray."""
    return build(config_of(workdir, *overrides), out=silent).shards


@cache
def trained(workdir: Path, *overrides: str) -> Run:
    """A run trained in this process."""
    built(workdir)
    return load_run(train_run(config_of(workdir, *overrides), out=silent).run.uri)
