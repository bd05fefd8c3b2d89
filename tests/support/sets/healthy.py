"""A small healthy data set on disk, to plant faults into: two training and two test identities."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from reid.doctor.finding import Finding

HEIGHT, WIDTH = 64, 32
COLUMNS = ("file", "pid", "camid", "split", "role", "modality", "capture", "caption")
CLOTHES = ("red coat", "blue dress", "grey hood", "green shirt", "black suit", "white apron")


def pattern(seed: int, height: int = HEIGHT, width: int = WIDTH) -> Image.Image:
    """A picture that looks like no other: blurred random patches."""
    patches = np.random.default_rng(seed).integers(0, 256, (6, 4, 3), dtype=np.uint8)
    return Image.fromarray(patches).resize((width, height), Image.Resampling.BICUBIC)


def picture(path: Path, seed: int, **size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pattern(seed, **size).save(path)


def recoded(path: Path, quality: int = 85) -> bytes:
    """The picture of a file as another file: JPEG."""
    stream = io.BytesIO()
    Image.open(path).convert("RGB").save(stream, "JPEG", quality=quality)
    return stream.getvalue()


@dataclass
class World:
    """Rows of a manifest, and the files that they name. Identities 1, 2 train and 11, 12 test."""

    root: Path
    rows: list[dict[str, Any]] = field(default_factory=list)

    def row(self, pid: int, camera: int, modality: str = "rgb") -> dict[str, Any]:
        """The row of a capture's picture."""
        name = f"_{pid}_{camera}"
        return next(r for r in self.rows if r["capture"].endswith(name) and r["modality"] == modality)

    def file(self, pid: int, camera: int, modality: str = "rgb") -> Path:
        return self.root / str(self.row(pid, camera, modality)["file"])

    def drop(self, pid: int, camera: int, modality: str | None = None) -> None:
        """Without the capture, or without its picture of a modality."""
        for one in ["rgb", "nir"] if modality is None else [modality]:
            self.rows.remove(self.row(pid, camera, one))

    def add(self, pid: int, camera: int, split: str, seed: int) -> None:
        """A capture: an RGB and an NIR picture, and a caption of its own."""
        for modality in ("rgb", "nir"):
            name = f"{split}_{pid}_{camera}_{modality}.png"
            picture(self.root / name, seed * 2 + (modality == "nir"))
            text = f"number {pid} in a {CLOTHES[seed % len(CLOTHES)]} at gate {camera}"
            self.rows.append(
                {
                    "file": name,
                    "pid": pid,
                    "camid": camera,
                    "split": split,
                    "role": "",
                    "modality": modality,
                    "capture": f"{split}_{pid}_{camera}",
                    "caption": text if modality == "rgb" else "",
                }
            )

    def write(self) -> str:
        """Save the manifest; returns the folder."""
        with (self.root / "list.csv").open("w", newline="", encoding="utf-8") as stream:
            table = csv.DictWriter(stream, COLUMNS)
            table.writeheader()
            table.writerows(self.rows)
        return str(self.root)


def healthy(root: Path) -> World:
    """Nothing to find: every identity by three cameras, in both modalities, with captions of its own."""
    root.mkdir(parents=True, exist_ok=True)
    world = World(root)
    for number, (pid, split) in enumerate([(1, "train"), (2, "train"), (11, "test"), (12, "test")]):
        for camera in range(3):
            world.add(pid, camera, split, seed=3 * number + camera)
    return world


def by_code(findings: list[Finding]) -> dict[str, int]:
    """{code: count}."""
    return {f.code: f.count for f in findings}
