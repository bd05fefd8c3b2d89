"""Items of a small gallery, each a function of its number."""

from __future__ import annotations

import numpy as np

from reid.gallery.rows import Item
from reid.modality import Modality

DIM = 8

MODEL = "model-a"


def unit(seed: int) -> np.ndarray:
    vector = np.random.default_rng(seed).standard_normal(DIM).astype(np.float32)
    return vector / np.linalg.norm(vector)


def item(number: int, secret: str = "", subsets: tuple[str, ...] = ("rgb",), **labels: object) -> Item:
    return Item(
        id=f"item-{number:03d}",
        vectors={s: unit(number) for s in subsets},
        model_fingerprint=MODEL,
        modalities=(Modality.RGB,),
        pid=number,
        thumbnail=f"jpeg-{secret}-{number:03d}-end".encode(),
        source="shards/0.parquet",
        **labels,  # type: ignore[arg-type]
    )
