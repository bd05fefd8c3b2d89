"""The entries of a small RSTPReid."""

from __future__ import annotations

from typing import Any

ENTRIES: list[dict[str, Any]] = [
    {"id": 3901, "img_path": "3901_c1_0002.jpg", "captions": ["T1.", "T2."], "split": "test"},
    {"id": 3701, "img_path": "3701_c5_0006.jpg", "captions": ["V1.", "V2."], "split": "val"},
    {"id": 1, "img_path": "0001_c14_0031.jpg", "captions": ["B2.", "B1."], "split": "train"},
    {"id": 0, "img_path": "0000_c14_0031.jpg", "captions": ["A1.", "A2."], "split": "train"},
]
