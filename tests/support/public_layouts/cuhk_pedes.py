"""The entries of a small CUHK-PEDES."""

from __future__ import annotations

from typing import Any

ENTRIES: list[dict[str, Any]] = [
    {
        "split": "test",
        "captions": ["A woman with a bag.", "She walks."],
        "file_path": "Market/1363_c6s3_4.jpg",
        "processed_tokens": [["a", "woman", "with", "a", "bag"], ["she", "walks"]],
        "id": 12004,
    },
    {"split": "val", "captions": ["One.", "Two."], "file_path": "CUHK03/77_1.png", "id": 11004},
    {"split": "train", "captions": ["C.", "A.", "B."], "file_path": "cam_b/9.jpg", "id": 2},
    {"split": "train", "captions": [" A man. "], "file_path": "cam_a/000_45.bmp", "id": 1},
    {"split": "train", "captions": ["Back.", "Bag."], "file_path": "test_query/p1_s2.jpg", "id": 1},
]
