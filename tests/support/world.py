"""A small finished project in a folder, where README's and the docstrings' examples run.

```
runs/shards/mine/<key>     8 training and 4 test identities, two captures each: rgb, nir, sketch, a caption
runs/train/mine/<run>      a tiny baseline, any to any, trained for one step
runs/gallery/mine-<run>    the test split
a.jpg  b.jpg               two pictures of the test split's first identity and of its second
```
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reid.config import Config, load
from reid.config.addresses import gallery_uri
from reid.data.shards.schema import Sample
from reid.data.shards.shard_set import ShardSet
from reid.gallery.store import Gallery
from reid.modality import Modality
from reid.retrieve.answers import NewItem
from reid.retrieve.retriever import Retriever
from reid.runs.run import Run, load_run
from reid.train.loop import train
from tests.support.sets.shards import make_sample, make_shards

RGB, NIR, SKETCH, TEXT = Modality.RGB, Modality.NIR, Modality.SKETCH, Modality.TEXT
MODALITIES = (RGB, NIR, SKETCH, TEXT)


@dataclass(frozen=True)
class World:
    """The parts of the project, loaded."""

    folder: Path
    shards: ShardSet
    config: Config
    run: Run
    retriever: Retriever


def world_config(folder: Path, shards: ShardSet, *overrides: str, **sections: Any) -> Config:
    """The project's configuration."""
    tree: dict[str, Any] = {
        "name": "mine",
        "workdir": str(folder / "runs"),
        "data": {
            "name": "mine",
            "reader": {"name": "folder", "path": "unused"},
            "shards": shards.root,
            "modalities": "rgb+nir+sketch+text",
            "height": 32,
            "width": 16,
        },
        "model": {
            "name": "baseline",
            "fusion": "mean",
            "weights": "random",
            "tower": {"arch": None, "patch": 8, "width": 32, "layers": 1, "heads": 2, "dim": 16},
            "text": {"width": 16, "layers": 1, "heads": 2},
            "modality_embedding": True,
        },
        "train": {
            "epochs": 1,
            "workers": 0,
            "steps_per_epoch": 1,
            "loader": {"kind": "none"},
            "batch": {"identities": 2, "instances": 2},
            "val": {"fraction": 0.5},
        },
        "index": {"subsets": ["rgb"], "thumbnail": 24},
    }
    return load(tree | sections, overrides)


def make_world(folder: Path, *overrides: str) -> World:
    """Make the project in an empty folder; a second or two."""
    train_split = [make_sample(pid, n, MODALITIES, camid=n) for pid in range(8) for n in range(2)]
    test_split = [
        make_sample(pid, n, MODALITIES, camid=n, split="test") for pid in range(20, 24) for n in range(2)
    ]
    shards = make_shards(folder / "runs/shards/mine/5eed", [train_split, test_split], dataset="mine")
    config = world_config(folder, shards, *overrides)
    train(config, str(folder / "runs/train/mine/0001"))
    run = load_run(str(folder / "runs/train/mine"))
    gallery = Gallery.create(
        gallery_uri(run.config, run.fingerprint), run.dim, ["rgb"], run.fingerprint, run.uri
    )
    retriever = Retriever(run, gallery)
    retriever.put([_item(number, sample) for number, sample in enumerate(test_split)])
    for name, sample in (("a.jpg", test_split[0]), ("b.jpg", test_split[2])):
        (folder / name).write_bytes(sample.images[RGB].image)
    return World(folder, shards, config, run, retriever)


def namespace(world: World) -> dict[str, Any]:
    """What every example may name without more words; its working folder is the world's."""
    import torch
    from PIL import Image

    import reid

    libraries = {"reid": reid, "np": np, "torch": torch, "Image": Image, "Path": Path}
    gallery = world.retriever.gallery
    return libraries | {
        "config": world.config,
        "run": world.run,
        "gallery": gallery,
        "retriever": world.retriever,
    }


def _item(number: int, sample: Sample) -> NewItem:
    parts = {m: image.image for m, image in sample.images.items()}
    return NewItem(f"item-{number}", parts, pid=sample.labels.pid, camid=sample.labels.camid, source="made")
