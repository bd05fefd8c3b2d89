"""Galleries drawn at random: the AGW convention, and SYSU-MM01's published permutations.

`choice` (AGW; LLCM uses it too): trial t seeds Python's generator with seed + t, goes through the sorted
identities (outer loop) and cameras (inner), and calls `random.choice` on the sorted items of each cell.
With several shots it calls `random.sample` for that many, or for all where there are fewer.

`permutation` takes the first shots of the row of the trial in the file for (camera, identity). The numbers
are the file numbers in the samples' names (cam1/0006/0012 is number 12); numbers without a sample, whose
file was set aside, are passed over. The same as JSON, with camid as in the shards (cam1 is 0):
{"<camid>": {"<pid>": [[numbers of trial 0], [numbers of trial 1], ...]}}.
"""

from __future__ import annotations

import io
import json
import random
import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from reid import storage
from reid.config.protocols.spec import SamplingConfig
from reid.errors import DataError
from reid.evaluate.protocols.items import GalleryItem
from reid.modality import ORDER

Key = tuple[Any, ...]


def gallery_trials(config: SamplingConfig | None, items: Sequence[GalleryItem]) -> list[Sequence[int]]:
    """The positions in `items` of each trial's gallery, in the order of drawing.

    Without sampling: one trial, the range of all items. Raises DataError for a permutation file that does not
    fit.
    """
    if config is None or config.shots is None:
        return [range(len(items))]
    cells = cells_of(items, config.per)
    if config.method == "permutation":
        file = Permutations.read(str(config.permutations))
        return [file.draw(cells, items, config.shots, trial) for trial in range(config.trials)]
    return [_choose(cells, config.shots, config.seed + trial) for trial in range(config.trials)]


def cells_of(items: Sequence[GalleryItem], per: Sequence[str]) -> list[tuple[Key, list[int]]]:
    """Sorted (cell, positions sorted by sample name); an unknown camera is a cell of its own."""
    found: dict[Key, list[int]] = defaultdict(list)
    for position, item in enumerate(items):
        labels: dict[str, Key] = {
            "pid": (item.dataset, item.pid),
            "camid": (-1 if item.camid is None else item.camid,),
            "modality": tuple(ORDER.index(m) for m in item.parts),
        }
        found[tuple(labels[name] for name in per)].append(position)

    def name(position: int) -> tuple[str, str]:
        item = items[position]
        return next(iter(item.parts.values())).sample_id, item.item_id

    return [(key, sorted(found[key], key=name)) for key in sorted(found)]


def _choose(cells: Sequence[tuple[Key, list[int]]], shots: int, seed: int) -> list[int]:
    generator = random.Random(seed)
    drawn: list[int] = []
    for _, positions in cells:
        if shots == 1:
            drawn.append(generator.choice(positions))
        else:
            drawn += generator.sample(positions, min(shots, len(positions)))
    return drawn


class Permutations:
    """File numbers by camera, identity and trial."""

    def __init__(self, uri: str, numbers: dict[int, dict[int, list[list[int]]]]) -> None:
        self.uri = uri
        self.numbers = numbers

    @classmethod
    def read(cls, uri: str) -> Permutations:
        """Read rand_perm_cam.mat or JSON. Raises DataError for anything else."""
        data = storage.read_bytes(storage.absolute(uri))
        try:
            return cls(uri, _from_mat(data) if uri.endswith(".mat") else _from_json(data))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"evaluate.protocol.gallery.sampling.permutations: {uri} is no permutation file ({error}). "
                'Give rand_perm_cam.mat or JSON: {"<camid>": {"<pid>": [[file numbers of a trial], …]}}.'
            ) from None

    def draw(
        self, cells: Sequence[tuple[Key, list[int]]], items: Sequence[GalleryItem], shots: int, trial: int
    ) -> list[int]:
        """The positions that a trial's gallery consists of, by camera, then identity, as in the data set's
        own code."""
        drawn: list[int] = []
        for ((_, pid), (camid,)), positions in sorted(cells, key=lambda cell: (cell[0][1], cell[0][0])):
            rows = self.numbers.get(camid, {}).get(pid, [])
            if len(rows) <= trial:
                raise DataError(
                    f"{self.uri}: no permutation for trial {trial} of camera {camid}, identity {pid}; "
                    f"it has {len(rows)} for them. pid and camid + 1 must be the data set's own numbers."
                )
            numbered = {_file_number(items[i]): i for i in positions}
            drawn += [numbered[n] for n in rows[trial] if n in numbered][:shots]
        return drawn


def _file_number(item: GalleryItem) -> int:
    name = next(iter(item.parts.values())).sample_id
    digits = re.search(r"(\d+)(?:\.\w+)?$", name)
    if digits is None:
        raise DataError(f"Sample {name!r} has no file number at its end, which permutations go by.")
    return int(digits[1])


def _from_json(data: bytes) -> dict[int, dict[int, list[list[int]]]]:
    tree = json.loads(data)
    return {
        int(camid): {int(pid): [[int(n) for n in row] for row in rows] for pid, rows in by_pid.items()}
        for camid, by_pid in tree.items()
    }


def _from_mat(data: bytes) -> dict[int, dict[int, list[list[int]]]]:
    """Cell arrays: camera (cam1 is camid 0) -> identity, numbered from 1 -> (trials, images)."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        cameras = loadmat(io.BytesIO(data))["rand_perm_cam"].ravel()
    except MatReadError as error:
        raise ValueError(str(error)) from None
    return {
        camid: {
            pid: [[int(n) for n in row] for row in rows]
            for pid, rows in enumerate(cell.ravel(), 1)
            if rows.size
        }
        for camid, cell in enumerate(cameras)
    }
