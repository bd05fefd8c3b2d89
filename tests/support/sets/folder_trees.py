"""Folders of own pictures, and what the folder reader makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from reid.config import ReaderSection
from reid.data.readers.base import Reader, Record, open_reader
from tests.support.sets.healthy import picture


def put(root: Path, *files: str) -> str:
    """Save a picture of its own under each name; returns the folder."""
    for number, file in enumerate(files):
        picture(root / file, number)
    return str(root)


def reader(root: Path | str, **fields: Any) -> Reader:
    section = {"name": "folder", "path": str(root), **fields}
    return open_reader(TypeAdapter(ReaderSection).validate_python(section), "own")


def read(root: Path | str, **fields: Any) -> tuple[dict[str, Record], list[str]]:
    """Records by sample id, and the reader's notes without the folder's path."""
    source = reader(root, **fields)
    records = source.records()
    by_id = {r.labels.sample_id: r for r in records}
    assert len(by_id) == len(records), "sample ids are unique"
    return by_id, [note.replace(f"{root}: ", "") for note in source.notes]


def labels(records: dict[str, Record]) -> dict[str, tuple[str, str, int | None]]:
    """{sample id: (identity's name or number, split, camera)} of the records without a problem."""
    return {
        name: (r.labels.extra.get("identity", str(r.labels.pid)), r.labels.split, r.labels.camid)
        for name, r in records.items()
        if r.problem is None
    }
