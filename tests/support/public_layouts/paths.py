"""Public layouts whose labels are the paths of their pictures alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.support.sets.healthy import pattern


def save(root: Path, files: Sequence[str], width: int = 24, height: int = 48) -> str:
    for number, file in enumerate(files):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        pattern(number, height, width).save(root / file)
    return str(root)


RGBNT201 = [
    f"{split}/{modality}/{pid}_cam{camera}_0_00.jpg"
    for split, pid in (("train_171", "000001"), ("test", "000258"))
    for camera in (1, 2)
    for modality in ("RGB", "NI", "TI")
]

MSVR310 = [
    f"{folder}/{pid}/{modality}/{pid}_s{scene}_v0_000.jpg"
    for folder, pid, scene in (
        ("bounding_box_train", "0001", "001"),
        ("query3", "0019", "002"),
        ("bounding_box_test", "0019", "003"),
    )
    for modality in ("vis", "ni", "th")
]

BOXES = ("bounding_box_train", "query", "bounding_box_test")

RGBNT100 = [f"rgbir/{folder}/000{i}_c000{i}_001.jpg" for i, folder in enumerate(BOXES, 1)]

MARKET = [f"{folder}/000{i}_c{i}s1_00000{i}_01.jpg" for i, folder in enumerate(BOXES, 1)]
