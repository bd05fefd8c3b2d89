"""The entries of a small ICFG-PEDES."""

from __future__ import annotations

from typing import Any

ENTRIES: list[dict[str, Any]] = [
    {"split": "test", "captions": ["A lady."], "file_path": "test/0627/0627_010.jpg", "id": 3102},
    {"split": "train", "captions": ["A boy."], "file_path": "train/0002/b.jpg", "id": 1},
    {
        "split": "train",
        "captions": ["A man."],
        "file_path": "train/0000/a.jpg",
        "processed_tokens": [["a", "man"]],
        "id": 0,
    },
]
