"""Aligned pictures of two modalities, of a shard set or of a plain folder: what a translator learns from."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reid import storage
from reid.data.images import Pixels, decode_rgb
from reid.data.shards.places import is_set
from reid.data.shards.shard_set import ShardSet
from reid.errors import DataError
from reid.modality import Modality

log = logging.getLogger(__name__)

_SUFFIXES = ("png", "jpg", "jpeg", "bmp", "tif", "tiff", "webp")


@dataclass(frozen=True)
class AlignedPair:
    """Encoded pictures of one capture; `group` names its identity."""

    name: str
    group: str
    source: bytes
    target: bytes


def read_pairs(uri: str, source: Modality, target: Modality, split: str = "train") -> list[AlignedPair]:
    """All captures that have both modalities as captured pictures, in a fixed order; encoded, in memory.

    `uri` is a shard set, a folder of sets, of which it takes the newest, or a folder of plain pictures.
    Raises DataError when there is none.
    """
    if is_set(uri):
        found = _of_shards(uri, source, target, split)
    elif storage.is_remote(uri) or not Path(uri).is_dir():
        raise DataError(f"pairs={uri}: neither a shard set nor a folder.")
    else:
        found = _of_folder(Path(uri), source, target)
    if not found:
        raise DataError(f"pairs={uri}: no capture has both {source.value} and {target.value}.")
    return found


def stack(
    pairs: Sequence[AlignedPair], height: int, width: int, mirrored: Sequence[bool] = ()
) -> tuple[Pixels, Pixels]:
    """Sources (B, H, W, 3) and targets (B, H, W, 3) uint8; those `mirrored` left to right, both alike."""
    sources = [decode_rgb(p.source, p.name, (height, width)) for p in pairs]
    targets = [decode_rgb(p.target, p.name, (height, width)) for p in pairs]
    for i, mirror in enumerate(mirrored):
        if mirror:
            sources[i], targets[i] = sources[i][:, ::-1], targets[i][:, ::-1]
    return np.stack(sources), np.stack(targets)


def _of_shards(uri: str, source: Modality, target: Modality, split: str) -> list[AlignedPair]:
    shards = ShardSet.open(uri)
    found = []
    for group in shards.groups(split):
        for sample in shards.read_group(group):
            first, second = sample.images.get(source), sample.images.get(target)
            # What a generator made would teach the generator.
            if first and second and first.origin == second.origin == "captured":
                dataset, pid = sample.identity
                found.append(
                    AlignedPair(sample.labels.sample_id, f"{dataset}/{pid}", first.image, second.image)
                )
    return found


def _of_folder(root: Path, source: Modality, target: Modality) -> list[AlignedPair]:
    sources, targets = (_pictures(root / m.value) for m in (source, target))
    return [
        AlignedPair(name, name, sources[name].read_bytes(), targets[name].read_bytes())
        for name in sorted(sources.keys() & targets.keys())
    ]


def _pictures(folder: Path) -> dict[str, Path]:
    """Pictures below a folder by their relative name without its suffix; what cannot be read is logged."""
    walk = storage.Walk(str(folder), _SUFFIXES)
    files = [Path(uri) for uri in walk.below(walk.root)]
    for line in [*(one.problem for one in walk.broken), *walk.notes()]:
        log.warning("%s", line)
    return {str(file.relative_to(walk.root).with_suffix("")): file for file in files}
