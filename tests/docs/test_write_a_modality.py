"""docs/write-a-modality.md: its package, installed in a folder of its own, is known from folder to hit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support.pages import block
from tests.support.places import ROOT
from tests.support.sets.new_modality import PIDS, write_folder

PAGE = "write-a-modality.md"
LISTED = "from reid.modality import ORDER; print(*ORDER)"


def installed(folder: Path, python: str, name: str = "acme-sensors") -> Path:
    """The page's package as pip leaves it: modules, and beside them the metadata with the entry point."""
    (points,) = tomllib.loads(block(PAGE, "toml"))["project"]["entry-points"].items()
    group, listed = points
    package = folder / next(iter(listed.values())).partition(".")[0]
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "event.py").write_text(python, encoding="utf-8")
    about = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
    lines = [f"[{group}]", *(f"{key} = {value}" for key, value in listed.items())]
    (about / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def ran(site: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Python with the package on its path."""
    path = os.pathsep.join([str(site), str(ROOT)])
    return subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_package_alone_makes_the_name_known(tmp_path: Path) -> None:
    site = installed(tmp_path, block(PAGE, "python"))
    assert ran(site, "-c", LISTED).stdout.split() == [
        "rgb", "nir", "tir", "sketch", "cp", "depth", "event", "text"
    ]  # fmt: skip
    direct = ran(site, "-c", "from acme_sensors.event import EVENT; " + LISTED)
    assert "event" in direct.stdout, direct.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ('name="nir"', "called 'nir': reid.modality.entries.nir and acme_sensors.event:EVENT (pack"),
        ("name=1 / 0", "event:EVENT (package acme-sensors): the modality 'event' cannot be loaded"),
    ],
)
def test_a_verb_tells_in_one_line_what_is_wrong_with_a_package(
    change: str, message: str, tmp_path: Path
) -> None:
    site = installed(tmp_path, block(PAGE, "python").replace('name="event"', change))
    ended = ran(site, "-m", "jobs.search", "--preset", "baseline/demo")
    assert ended.returncode == 2, ended.stderr
    (line,) = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
    assert message in line
    assert "Traceback" not in ended.stderr


@pytest.mark.slow
def test_pictures_of_it_go_from_a_folder_to_a_hit(tmp_path: Path) -> None:
    site = installed(tmp_path / "site", block(PAGE, "python"))
    folder = write_folder(tmp_path / "mine", "dvs")
    driver = "tests.support.sets.new_modality"
    ended = ran(site, "-m", driver, str(folder), str(tmp_path / "work"), "event")
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout.splitlines()[-1])
    assert found["stored"] == ["event", "rgb"] and found["compared"] == "event->event"
    assert f"/{found['pids'][0]:04d}/" in found["query"]
    assert set(found["pids"]) <= set(PIDS)
    refused = ran(tmp_path, "-m", driver, str(folder), str(tmp_path / "other"), "event")
    assert "Unknown modality 'event'" in refused.stderr
