"""A tiny shard set, written without Ray, and a configuration that trains on it in a second."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reid.config import Config, load
from reid.config.fingerprints import fingerprint
from reid.data.images import encode_png
from reid.data.shards.manifest import Manifest
from reid.data.shards.schema import SCHEMA_VERSION, Caption, Image, Labels, Sample
from reid.data.shards.shard_set import ShardSet, publish, write_shard
from reid.modality import Modality

HEIGHT, WIDTH = 32, 16
WriteShards = Callable[..., ShardSet]
Configure = Callable[..., Config]


def make_sample(pid: int, camid: int, split: str = "train", dataset: str = "tiny") -> Sample:
    """One capture: an identity's own colours, spoilt by a camera's noise."""
    own = np.random.default_rng([1, pid]).integers(40, 216, (2, 4, 2, 3))
    noise = np.random.default_rng([2, pid, camid])
    images = {}
    for modality, coarse in zip((Modality.RGB, Modality.NIR), own, strict=True):
        pixels = np.kron(coarse, np.ones((8, 8, 1))) + noise.normal(0, 25, (HEIGHT, WIDTH, 3))
        images[modality] = Image(encode_png(pixels.clip(0, 255).astype(np.uint8)), WIDTH, HEIGHT)
    name = f"{dataset}-{split}-{pid}-{camid}"
    captions = (Caption(f"object number {pid} of colour {own[0, 0, 0]}"),)
    return Sample(Labels(name, dataset, split, pid, camid=camid), images, captions)


def publish_samples(root: Path, samples: Sequence[Sample], rows_per_group: int = 8) -> ShardSet:
    """Publish samples as a shard set, one shard a split."""
    shards = []
    for split in sorted({s.labels.split for s in samples}):
        mine = [s for s in samples if s.labels.split == split]
        shards.append(write_shard(mine, f"{root}/data/{split}.parquet", split, rows_per_group, []))
    manifest = Manifest(
        schema_version=SCHEMA_VERSION,
        dataset="tiny",
        fingerprint=fingerprint([s.sha256 for s in shards]),
        source="tests",
        generators={},
        shards=shards,
        counts={},
        quarantined=0,
    )
    publish(str(root), manifest)
    return ShardSet.open(str(root))


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
    samples = [make_sample(pid, camid) for pid in range(8) for camid in (2, 5, 6)]
    return publish_samples(tmp_path_factory.mktemp("shards"), samples)


@pytest.fixture
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
                "batch": {"identities": 4, "instances": 2},
                "augment": {"pad": 2, "jitter": 0.2},
                "optim": {"lr": 1e-3, "warmup_epochs": 1},
            },
        }
        return load(tree | sections, overrides)

    return build
