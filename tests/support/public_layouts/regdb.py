"""A small RegDB."""

from __future__ import annotations

from pathlib import Path

FOLDERS = {"visible": "Visible", "thermal": "Thermal"}

TRIALS = {1: {"train": (7, 12), "test": (3, 40)}, 2: {"train": (3, 7), "test": (40, 12)}}


def name(kind: str, pid: int, number: int) -> str:
    return f"{FOLDERS[kind]}/{pid}/male_back_{kind[0]}_{number:05d}_{pid}.bmp"


def write_list(root: Path, split: str, kind: str, trial: int, lines: list[str]) -> None:
    (root / "idx").mkdir(exist_ok=True)
    (root / "idx" / f"{split}_{kind}_{trial}.txt").write_text("".join(f"{line}\n" for line in lines))


def lines(kind: str, pids: tuple[int, ...]) -> list[str]:
    return [f"{name(kind, pid, number)} {label}" for label, pid in enumerate(pids) for number in (2, 1)]
