"""Lists a set's data folder: finished shards, and donors for unfinished ones.

A shard's file is named `<source key>-<made key>`, so that everything made from one source is found without
opening a file. Only the statistics of these candidates are read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow.fs as pafs
from pydantic import ValidationError

from reid import storage
from reid.data.shards.manifest import MadeBy, Shard
from reid.dataset.planning.plan_table import PlanTable
from reid.dataset.planning.shard_task import Donor
from reid.dataset.recipe import Recipe
from reid.dataset.stages.writing import data_uri
from reid.errors import StorageError
from reid.modality import Target

_READERS = 16
_AHEAD = 64
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
    return {shard.key: shard for shard in iter_statistics(root, files, keys)}


def iter_statistics(root: str, files: Listing, keys: Iterable[str]) -> Iterator[Shard]:
    """The same one by one, in this order; some are read ahead."""
    there = [k for k in keys if f"{k}.json" in files and f"{k}.parquet" in files]
    if not there:
        return
    with ThreadPoolExecutor(min(_READERS, len(there))) as pool:
        for start in range(0, len(there), _AHEAD):
            part = there[start : start + _AHEAD]
            for key, shard in zip(part, pool.map(lambda key: _shard(root, key), part), strict=True):
                if shard is not None and files[f"{key}.parquet"].size == shard.bytes:
                    yield shard


def find_donors(root: str, folders: Sequence[str], plans: PlanTable, recipe: Recipe) -> dict[str, str]:
    """Source key -> the JSON of the donor's `tree`: the finished shard with the most of what its plan needs.

    `folders` are other sets that are searched besides `root`.
    """
    wanted = set(plans.sources())
    best: dict[str, tuple[tuple[int, bool, float], str]] = {}
    for folder in dict.fromkeys([root, *folders]):
        files = listing(folder)
        newest = sorted(files, key=lambda name: -files[name].modified)
        taken: dict[str, list[str]] = {}
        for name in newest:
            source, _, rest = name.removesuffix(".json").partition("-")
            if source in wanted and rest and name.endswith(".json"):
                taken.setdefault(source, []).append(f"{source}-{rest}")
        keys = [key for own in taken.values() for key in own[:_CANDIDATES]]
        for shard in iter_statistics(folder, files, keys):
            kept = _kept(shard, recipe)
            if kept is not None:
                rank = (len(kept), folder == root, files[f"{shard.key}.json"].modified)
                known = best.get(shard.source_key)
                if known is None or rank > known[0]:
                    donor = Donor(data_uri(folder, shard.file), shard, kept)
                    best[shard.source_key] = rank, json.dumps(donor.tree())
    return {source: text for source, (_, text) in best.items()}


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
