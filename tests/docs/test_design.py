"""docs/design.md: its table of rooms is the tree's, and its abbreviations lead to files named in words."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.support.pages import DOCS
from tests.support.places import ROOT

GROUND = {"errors", "modality", "config", "storage"}
_ROW = re.compile(r"^\| `reid/(\w+)/` \|.*\|([^|]*)\|$", re.MULTILINE)
_ABBREVIATION = re.compile(r"^\| ([A-Z]{3,4})\b[^|]*\|[^|]*\| `(reid/[\w/]+\.py)`", re.MULTILINE)
TEXT = (DOCS / "design.md").read_text(encoding="utf-8")


def listed() -> dict[str, set[str]]:
    """Room -> the rooms that the page says it imports."""
    return {room: set(re.findall(r"\w+", imports)) for room, imports in _ROW.findall(TEXT)}


def imported(room: Path) -> set[str]:
    """The other rooms that the files of a room import, the ground left out."""
    found: set[str] = set()
    for file in room.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {name.split(".")[1] for name in names if name.startswith("reid.")}
    rooms = {folder.name for folder in (ROOT / "reid").iterdir() if (folder / "__init__.py").is_file()}
    return (found & rooms) - GROUND - {room.name}


@pytest.fixture
def rooms() -> list[Path]:
    """The folders of the library."""
    return sorted(folder for folder in (ROOT / "reid").iterdir() if (folder / "__init__.py").is_file())


def test_the_table_has_every_room_and_no_other(rooms: list[Path]) -> None:
    assert sorted(listed()) == [room.name for room in rooms]


def test_every_room_imports_what_the_table_says(rooms: list[Path]) -> None:
    table = listed()
    wrong = {r.name: sorted(imported(r) ^ table[r.name]) for r in rooms if imported(r) != table[r.name]}
    assert not wrong, f"docs/design.md, table of rooms, last column: {wrong}"


def test_an_abbreviations_file_in_a_system_is_named_in_words() -> None:
    rows = dict(_ABBREVIATION.findall(TEXT))
    assert {"FFM", "FRM", "SIM", "GAM", "LAM", "SFM", "STR", "CHI", "AEA", "CMQF", "SDM"} <= set(rows)
    for short, file in rows.items():
        if file.startswith("reid/models/"):  # elsewhere the name of a whole network or loss may stand
            assert short.lower() not in Path(file).stem.split("_"), file
