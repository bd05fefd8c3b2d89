"""Small samples and shard sets for the tests of this folder."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PILImage

from reid import storage
from reid.config import DataConfig
from reid.data.shards.manifest import MANIFEST, Manifest, Shard
from reid.data.shards.schema import SCHEMA_VERSION, Caption, Image, Labels, Sample
from reid.data.shards.shard_set import ShardSet, publish, write_shard
from reid.modality import ORDER, Modality

SIDE = 8


def file_bytes(image: PILImage.Image, kind: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def flat_picture(colour: Sequence[int], height: int = SIDE, width: int = SIDE) -> bytes:
    """A PNG of one colour."""
    return file_bytes(PILImage.fromarray(np.full((height, width, 3), colour, np.uint8)))


def make_sample(
    pid: int, number: int = 0, modalities: Iterable[Modality] = (Modality.RGB,), **labels: Any
) -> Sample:
    """Sample `number` of an identity; the colour of a picture spells (pid, number, modality)."""
    given = list(modalities)
    values = {"sample_id": f"p{pid}-{number}", "dataset": "made", "split": "train", "pid": pid, **labels}
    return Sample(
        labels=Labels(**values),
        images={
            m: Image(flat_picture((pid, number, ORDER.index(m))), SIDE, SIDE) for m in given if m.is_visual
        },
        captions=(Caption(f"person {pid}, picture {number}"),) if Modality.TEXT in given else (),
    )


def make_identities(
    sizes: Sequence[int], modalities: Iterable[Modality] = (Modality.RGB,), **labels: Any
) -> list[Sample]:
    """Identity i with sizes[i] samples."""
    given = list(modalities)
    return [make_sample(pid, n, given, **labels) for pid, size in enumerate(sizes) for n in range(size)]


def make_shards(
    root: Path | str, shards: Sequence[Sequence[Sample]], rows_per_group: int = 64, **manifest: Any
) -> ShardSet:
    """A published set with one file for each list of samples."""
    written = [write_one(root, f"s{i}", samples, rows_per_group) for i, samples in enumerate(shards)]
    values: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "dataset": "made",
        "fingerprint": "f",
        "source": "test",
        "generators": {},
        "shards": written,
        "counts": {},
        "quarantined": 0,
    }
    publish(str(root), Manifest(**{**values, **manifest}))
    return ShardSet.open(str(root))


def as_before(shards: ShardSet, change: Callable[[dict[str, Any]], object] = lambda group: None) -> None:
    """Publish a set as versions before tables did: MANIFEST.json holds everything, each row group changed."""
    tree = shards.manifest.model_dump(mode="json", exclude={"shards", "tables", "quarantine_rows"})
    tree["quarantine_rows"] = list(shards.manifest.quarantine_rows)
    tree["shards"] = [shard.model_dump(mode="json", exclude={"cameras"}) for shard in shards.manifest.shards]
    for shard in tree["shards"]:
        for group in shard["row_groups"]:
            change(group)
    storage.write_json(storage.join(shards.root, MANIFEST), tree)


def write_one(root: Path | str, key: str, samples: Sequence[Sample], rows_per_group: int = 64) -> Shard:
    return write_shard(samples, storage.join(str(root), "data", f"{key}.parquet"), key, rows_per_group, [])


def data_config(modalities: Iterable[Modality] = (Modality.RGB,), **fields: Any) -> DataConfig:
    """What collators of these tests see: tiny pictures whose normalised values are the stored ones."""
    values = {"height": SIDE, "width": SIDE, "mean": (0, 0, 0), "std": (1 / 255,) * 3, **fields}
    reader = {"name": "folder", "path": "unused"}
    return DataConfig(name="made", reader=reader, modalities=tuple(modalities), **values)
