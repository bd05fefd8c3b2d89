"""Folders of small photos, good and bad, and the configurations that build them."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipelines.dataset.build import BuildResult, build
from reid.config import Config, load
from reid.data.shards.schema import Sample
from reid.data.shards.shard_set import ShardSet
from reid.dataset.stages.running import run_here
from tests.support.tiny_configs import silent

BAD = {
    "truncated.jpg": "truncated or corrupt",
    "notes.jpg": "not an image",
    "empty.jpg": "0 bytes",
    "gone.jpg": "which is missing",
}


def jpeg(seed: int, size: tuple[int, int] = (32, 32)) -> bytes:
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(coarse).resize(size).save(stream, "JPEG")
    return stream.getvalue()


def photos(root: Path, identities: int = 5, bad: bool = True) -> Path:
    """Identity p has captures <p>_0.jpg and <p>_1.jpg; the last one has a single capture."""
    root.mkdir(parents=True)
    rows: list[tuple[str, Any, int, str]] = []
    for pid in range(identities):
        for number in range(1 if pid == identities - 1 else 2):
            name = f"{pid}_{number}.jpg"
            (root / name).write_bytes(jpeg(10 * pid + number))
            rows.append((name, pid, number, "train" if pid < 3 else "test"))
    if bad:
        (root / "truncated.jpg").write_bytes(jpeg(99, (64, 64))[:-300])
        (root / "notes.jpg").write_text("this is no picture")
        (root / "empty.jpg").write_bytes(b"")
        rows += [(name, 0, 0, "train") for name in BAD]
        rows.append(("unknown.jpg", "", 0, "train"))  # nobody knows who this is
        (root / "unknown.jpg").write_bytes(jpeg(77))
    with (root / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("file", "pid", "camid", "split"), *rows])
    return root


def config(root: Path, work: Path, *overrides: str) -> Config:
    """Photos of `root`, two identities a shard, shards at a fixed place."""
    return load(
        {
            "name": "photos",
            "workdir": str(work),
            "data": {
                "name": "photos",
                "reader": {"name": "folder", "path": str(root), "manifest": "list.csv"},
                "shards": str(work / "set"),
                "modalities": "rgb+sketch",
            },
            "build": {
                "rows_per_shard": 4,
                "rows_per_group": 2,
                "generate": {"sketch": {"generator": "sketch_dodge", "params": {"sigma": 2.0}}},
            },
            "model": {"name": "baseline", "fusion": "mean"},
        },
        overrides,
    )


def quiet_build(settings: Config) -> BuildResult:
    """On Ray."""
    return build(settings, out=silent)


def build_here(settings: Config) -> BuildResult:
    """In this process."""
    return build(settings, out=silent, run=run_here)


def rows_of(shards: ShardSet, split: str) -> list[Sample]:
    return [s for group in shards.groups(split) for s in shards.read_group(group)]
