"""From a folder with pictures of one more modality to a hit, in this process: build, train, index, search.

`python -m tests.support.sets.new_modality FOLDER WORK MODALITY` prints what was found as JSON, for tests
whose modality a process of its own has to learn of.
"""

from __future__ import annotations

import copy
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pipelines.index import index_run
from pipelines.training.train import train_run
from reid.config import Config, load
from reid.modality import parse_modality
from reid.retrieve.retriever import Retriever
from reid.runs.run import load_run
from tests.support.sets.own_folders import photo
from tests.support.sets.photos import build_here, rows_of
from tests.support.tiny_configs import TREE, silent

PIDS = range(1, 9)


@dataclass(frozen=True)
class NewModalityRun:
    """What came of it: modalities of the stored rows, the query's own file, ids of the hits, best first."""

    stored: list[str]
    query: str
    hits: list[str]
    pids: list[int]
    compared: str


def write_folder(root: Path, word: str, deep: bool = False) -> Path:
    """<split>/<identity>/{rgb,<word>}/<camera>_<n>.png; with `deep` those of the word have 16 bits."""
    for pid in PIDS:
        split = "train" if pid <= len(PIDS) // 2 else "test"
        for number in range(2):
            here = root / split / f"{pid:04d}"
            photo(here / "rgb" / f"cam{number}.png", pid, number, size=(32, 32))
            if deep:
                distance = np.random.default_rng([pid, number]).integers(1000, 7000, (4, 4))
                (here / word).mkdir(parents=True, exist_ok=True)
                pixels = np.kron(distance, np.ones((8, 8))).astype(np.uint16)
                Image.fromarray(pixels).save(here / word / f"cam{number}.png")
            else:
                photo(here / word / f"cam{number}.png", pid, number, 1, size=(32, 32))
    return root


def settings(folder: Path, work: Path, modality: str, *overrides: str) -> Config:
    """The tiny configuration over the folder."""
    tree = copy.deepcopy(TREE)
    tree["workdir"] = str(work)
    tree["data"] |= {
        "reader": {"name": "folder", "path": str(folder), "camera_pattern": r"cam(\d)"},
        "modalities": f"rgb+{modality}",
    }
    tree["build"]["generate"] = {}
    tree["index"] = {"subsets": ["rgb", modality]}
    return load(tree, overrides)


def from_folder_to_hit(folder: Path, work: Path, modality: str) -> NewModalityRun:
    """Build, train, index; then a tested picture of the modality asks for pictures of its kind."""
    config = settings(folder, work, modality)
    shards = build_here(config).shards
    run = load_run(train_run(config, out=silent).run.uri)
    index_run(config, run, silent)
    rows = rows_of(shards, "test")
    query = sorted(p for p in (folder / "test").rglob("cam0.png") if p.parent.name != "rgb")[0]
    result = Retriever.open(run).search({modality: str(query)}, 3, modality)
    return NewModalityRun(
        stored=sorted({m.value for row in rows for m in row.modalities}),
        query=str(query),
        hits=[hit.id for hit in result.hits],
        pids=[hit.pid or -1 for hit in result.hits],
        compared=f"{result.query_subset}->{result.gallery_subset}",
    )


if __name__ == "__main__":
    where, place, name = sys.argv[1:]
    print(json.dumps(asdict(from_folder_to_hit(Path(where), Path(place), parse_modality(name).value))))
