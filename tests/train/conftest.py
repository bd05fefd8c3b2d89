"""A tiny shard set, written without Ray, and a configuration that trains on it in a second."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from reid.config import Config, load
from reid.data.shards.schema import Sample
from reid.data.shards.shard_set import ShardSet
from tests.support.models.tiny_training import (
    HEIGHT,
    WIDTH,
    Configure,
    WriteShards,
    make_sample,
    publish_samples,
    publish_tiny_set,
)


@pytest.fixture(scope="session")
def write_shards() -> WriteShards:
    """write_shards(root, samples) publishes a set."""
    return publish_samples


@pytest.fixture(scope="session")
def sample() -> Callable[..., Sample]:
    """sample(pid, camid, split="train") renders one."""
    return make_sample


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> ShardSet:
    """Eight identities in three cameras, each with RGB, NIR and a caption."""
    return publish_tiny_set(tmp_path_factory.mktemp("shards"))


@pytest.fixture(scope="session")
def configure(shards: ShardSet) -> Configure:
    """configure("train.epochs=3", ...): a tiny baseline on the tiny set, augmentation on."""

    def build(*overrides: str, **sections: Any) -> Config:
        tree: dict[str, Any] = {
            "name": "tiny",
            "seed": 3,
            "data": {
                "name": "tiny",
                "reader": {"name": "synthetic"},
                "shards": shards.root,
                "modalities": "rgb+nir",
                "height": HEIGHT,
                "width": WIDTH,
            },
            "model": {
                "name": "baseline",
                "tower": {"arch": None, "patch": 8, "width": 32, "layers": 1, "heads": 2, "dim": 16},
                "text": {"width": 16, "layers": 1, "heads": 1},
            },
            "train": {
                "epochs": 3,
                "steps_per_epoch": 3,
                "loader": {"kind": "none"},
                "batch": {"identities": 4, "instances": 2},
                "augment": {"pad": 2, "jitter": 0.2},
                "optim": {"lr": 1e-3, "warmup_epochs": 1},
            },
        }
        return load(tree | sections, overrides)

    return build
