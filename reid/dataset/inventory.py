"""Lists a set's data folder: finished shards, and donors for unfinished ones.

A shard's file is named `<source key>-<made key>`, so that everything made from one source is found without
opening a file. Only the statistics of these candidates are read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow.fs as pafs
from pydantic import ValidationError

from reid import storage
from reid.data.shards.manifest import MadeBy, Shard
from reid.dataset.recipe import Recipe
from reid.dataset.shard_plan import ShardPlan
from reid.dataset.shard_task import Donor
from reid.dataset.stages.writing import data_uri
from reid.errors import StorageError
from reid.modality import Target

_READERS = 16
_CANDIDATES = 8
"""Donors looked at for a shard, newest first."""


@dataclass(frozen=True)
class DataFolderListing:
    """The size and age of a file in its folder."""

    size: int
    modified: float
    """Seconds since the epoch."""


Listing = Mapping[str, DataFolderListing]


def listing(root: str) -> Listing:
    """Name -> size and age of every file in a set's data folder, unfinished ones included.

    Raises StorageError when the storage cannot be reached.
    """
    return list_folder(storage.join(root, "data"))


def list_folder(uri: str) -> Listing:
    """Name -> size and age of the files directly below a folder; empty when it is missing."""
    files = (i for i in storage.list_infos(uri) if i.type == pafs.FileType.File)
    return {i.base_name: DataFolderListing(i.size or 0, (i.mtime_ns or 0) / 1e9) for i in files}


def read_statistics(root: str, files: Listing, keys: Iterable[str]) -> dict[str, Shard]:
    """The complete shards with these keys and statistics of this version."""
    there = [k for k in keys if f"{k}.json" in files and f"{k}.parquet" in files]
    if not there:
        return {}
    with ThreadPoolExecutor(min(_READERS, len(there))) as pool:
        shards = pool.map(lambda key: _shard(root, key), there)
        return {
            key: shard
            for key, shard in zip(there, shards, strict=True)
            if shard is not None and files[f"{key}.parquet"].size == shard.bytes
        }


def find_donors(
    root: str, folders: Sequence[str], plans: Sequence[ShardPlan], recipe: Recipe
) -> dict[str, Donor]:
    """Key of a plan -> the finished shard of the same source with the most of what the plan needs.

    `folders` are other sets that are searched besides `root`.
    """
    wanted = {plan.source_key for plan in plans}
    found: dict[str, list[tuple[tuple[int, bool, float], Donor]]] = {}
    for folder in dict.fromkeys([root, *folders]):
        files = listing(folder)
        newest = sorted(files, key=lambda name: -files[name].modified)
        taken: dict[str, list[str]] = {}
        for name in newest:
            source, _, rest = name.removesuffix(".json").partition("-")
            if source in wanted and rest and name.endswith(".json"):
                taken.setdefault(source, []).append(f"{source}-{rest}")
        keys = [key for own in taken.values() for key in own[:_CANDIDATES]]
        for key, shard in read_statistics(folder, files, keys).items():
            kept = _kept(shard, recipe)
            if kept is not None:
                rank = (len(kept), folder == root, files[f"{key}.json"].modified)
                donor = Donor(data_uri(folder, shard.file), shard, kept)
                found.setdefault(shard.source_key, []).append((rank, donor))
    best = {source: max(given, key=lambda one: one[0])[1] for source, given in found.items()}
    return {plan.key: best[plan.source_key] for plan in plans if plan.source_key in best}


def _kept(shard: Shard, recipe: Recipe) -> tuple[Target, ...] | None:
    """What a recipe takes over from a shard; None when the shard cannot serve."""
    if shard.base is not None:  # rows were left out of it; the whole one lies beside it
        return None
    kept: list[Target] = []
    for name, made in shard.made.items():
        step = recipe.by_target.get(Target(name))
        if step is not None and step.key == made.key:
            kept.append(step.target)
        elif _replaces(name, made) and (step is None or step.section.missing_only):
            return None  # it replaced captured ones, which are wanted again
    return tuple(kept)


def _replaces(target: str, made: MadeBy) -> bool:
    """Whether captured ones are gone; made captions are put beside the captured."""
    return not made.missing_only and target != Target.TEXT


def _shard(root: str, key: str) -> Shard | None:
    try:
        shard = Shard.model_validate(storage.read_json(data_uri(root, f"{key}.json")))
    except (StorageError, ValidationError):
        return None
    return shard if shard.key == key else None
