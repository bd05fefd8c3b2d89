"""What the reader notes reaches whoever builds: with the result, in a plan, and when the build is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.dataset.build import build, describe_build
from reid.config import Config
from reid.dataset.stages.running import run_here
from reid.errors import DataError
from tests.support.sets.photos import jpeg
from tests.support.tiny_configs import config_of

NOTE = "list.csv is read with a semicolon between its columns"


def spreadsheet(root: Path, *rows: str) -> Config:
    (root / "in").mkdir()
    for number in range(4):
        (root / "in" / f"{number}.jpg").write_bytes(jpeg(number))
    (root / "in" / "list.csv").write_text("\n".join(["file;pid", *rows]))
    reader = f"{{name: folder, path: {root / 'in'}, manifest: list.csv}}"
    return config_of(
        root / "work",
        f"data.reader={reader}",
        "data.modalities=rgb",
        "build.generate={}",
        "build.max_bad_fraction=0.2",
    )


def test_notes_come_with_the_result_and_the_plan(tmp_path: Path) -> None:
    settings = spreadsheet(tmp_path, *(f"{n}.jpg;{n // 2}" for n in range(4)))
    (told,) = describe_build(settings)["notes"]
    assert told.endswith(NOTE)
    lines: list[str] = []
    assert build(settings, out=lines.append, run=run_here).notes == [told]
    assert not any("note:" in line for line in lines), "the caller prints them"


def test_a_build_that_is_refused_tells_them_first(tmp_path: Path) -> None:
    settings = spreadsheet(tmp_path, "0.jpg;0", "1.jpg;nan", "2.jpg;nan", "3.jpg;1")
    lines: list[str] = []
    with pytest.raises(DataError):
        build(settings, out=lines.append, run=run_here)
    assert any(line.startswith("note: ") and line.endswith(NOTE) for line in lines)
    assert any("pid 'nan' (2) is read as empty" in line for line in lines)
