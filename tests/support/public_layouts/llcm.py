"""A small LLCM."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

TRAIN = {
    "vis": ["vis/0004/0004_c03_s1_f2_vis.jpg 0", "vis/0351/0351_c09_s200_f48_vis.jpg 1"],
    "nir": ["nir/0351/0351_c06_s200_f48_nir.jpg 1", "nir/0004/0004_c01_s1_f2_nir.jpg 0"],
}

TEST = (
    "test_vis/cam1/0003/0003_c01_s18_f31_vis.jpg",
    "test_vis/cam3/0003/0003_c03_s18_f31_vis.jpg",
    "test_vis/cam9/1064/1064_c09_s18_f31_vis.jpg",
    "test_nir/cam1/0003/0003_c01_s18_f31_nir.jpg",
    "test_nir/cam1/0003/0003_c01_s18_f30_nir.jpg",
    "test_nir/cam8/1064/1064_c08_s18_f31_nir.jpg",
)


def write(root: Path, name: str) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 4, 3), 90, np.uint8)).save(path, "JPEG")
    return path


def write_list(root: Path, name: str, lines: list[str]) -> None:
    (root / "idx").mkdir(exist_ok=True)
    (root / "idx" / name).write_text("\n".join(lines))
