"""What `ray job submit --working-dir .` leaves behind is none of the code that a job needs."""

from __future__ import annotations

import subprocess

from tests.support.places import ROOT


def ignored(paths: list[str]) -> list[str]:
    """Those of the paths that .rayignore leaves out; its syntax is that of .gitignore."""
    found = subprocess.run(
        ["git", "-c", "core.excludesFile=.rayignore", "check-ignore", "--no-index", "--stdin"],
        cwd=ROOT,
        input="\n".join(paths),
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode in (0, 1), found.stderr
    return found.stdout.split()


def test_every_source_file_and_its_data_travel_with_a_job() -> None:
    kinds = {".py", ".yaml", ".j2", ".css", ".html", ".typed"}
    needed = [
        str(path.relative_to(ROOT))
        for room in ("reid", "pipelines", "jobs")
        for path in (ROOT / room).rglob("*")
        if path.suffix in kinds and "__pycache__" not in path.parts
    ]
    assert "reid/runs/run.py" in needed  # a folder of this name at the top holds outputs, which stay
    assert ignored(needed) == []


def test_outputs_and_tests_stay_behind() -> None:
    left = ["runs/train/x/weights.safetensors", "tests/conftest.py", "docs/design.md", ".venv/bin/python"]
    assert ignored(left) == left
