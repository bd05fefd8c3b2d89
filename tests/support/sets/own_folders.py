"""Folders of pictures as somebody may bring them; an identity is its own blocks of colour."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = ("red", "blue", "green", "white", "black", "yellow", "grey", "pink", "brown", "purple")


def photo(
    path: Path, identity: int, number: int, modality: int = 0, size: tuple[int, int] = (64, 32)
) -> None:
    """An identity's own blocks of colour under the noise of a capture; `size` is height and width."""
    own = np.random.default_rng([identity, modality]).integers(20, 236, (4, 2, 3))
    blocks = np.kron(own, np.ones((size[0] // 4, size[1] // 2, 1)))
    noise = np.random.default_rng([identity, number, modality]).normal(0, 20, blocks.shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((blocks + noise).clip(0, 255).astype(np.uint8)).save(path, quality=90)


def sentence(identity: int) -> str:
    """What a witness says of an identity; no two say the same."""
    first, second = divmod(identity, len(COLOURS))
    return f"a {COLOURS[first % len(COLOURS)]} coat, {COLOURS[second]} trousers and bag number {identity}"


def splits_and_modalities(root: Path, cameras: int, train: int = 8, test: int = 4, captures: int = 4) -> Path:
    """<split>/<identity>/<modality>/: RGB and NIR, as README shows; camera 0 of 0: names tell none."""
    for split, start, count in (("train", 1, train), ("test", 101, test)):
        for pid in range(start, start + count):
            for number in range(captures):
                camera = f"cam{number % cameras + 1}_" if cameras else ""
                for place, modality in enumerate(("rgb", "nir")):
                    photo(
                        root / split / f"{pid:04d}" / modality / f"{camera}{number}.jpg", pid, number, place
                    )
    return root


def identities(root: Path, count: int = 12, captures: int = 4) -> Path:
    """<identity>/: names of people, no cameras, no splits."""
    for pid in range(count):
        for number in range(captures):
            photo(root / f"person {pid}" / f"{number}.jpg", pid, number)
    return root


def one_split(root: Path, split: str = "train", count: int = 12, captures: int = 4) -> Path:
    """<split>/<identity>/, and no other split."""
    for pid in range(count):
        for number in range(captures):
            photo(root / split / f"{pid:04d}" / f"{number}.jpg", pid, number)
    return root


def described(root: Path, count: int = 12, captures: int = 4) -> Path:
    """<identity>/ with photos, and texts.json with a sentence for each identity."""
    for pid in range(count):
        for number in range(captures):
            photo(root / f"{pid:04d}" / f"{number}.jpg", pid, number, size=(48, 48))
    texts = {f"{pid:04d}": {"text": sentence(pid)} for pid in range(count)}
    (root / "texts.json").write_text(json.dumps(texts), "utf-8")
    return root


def table(root: Path, rows: Sequence[dict[str, object]], name: str = "list.csv") -> Path:
    """Pictures and a CSV of them; `number` tells apart the captures of a pid, and is no column."""
    root.mkdir(parents=True, exist_ok=True)
    columns = list(dict.fromkeys(key for row in rows for key in row if key != "number"))
    with (root / name).open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    for row in rows:
        if row.get("file"):
            photo(root / str(row["file"]), int(str(row["pid"])), int(str(row.get("number", 0))))
    return root
