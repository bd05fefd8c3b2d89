"""A tiny shard set, written without Ray, whose identities a small model can learn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from reid.config import Config
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


def publish_tiny_set(root: Path) -> ShardSet:
    """Eight identities in three cameras, each with RGB, NIR and a caption."""
    return publish_samples(root, [make_sample(pid, camid) for pid in range(8) for camid in (2, 5, 6)])


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
