"""Tiny annotated person sets for the tests of this folder: a list, and the pictures that it names."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image


def write_set(root: Path, name: str, entries: Sequence[dict[str, Any]]) -> Path:
    """The list as <root>/<name>, and a picture of its own colour under imgs for each entry."""
    root.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(json.dumps(list(entries)))
    for n, entry in enumerate(entries):
        path = root / "imgs" / (entry.get("file_path") or entry["img_path"])
        assert path.resolve().is_relative_to(root.resolve()), "a test writes in its own folder only"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 8), (n, 0, 0)).save(path)
    return root
