"""Runs in a folder: what state each is in, how far it is, how long it takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from reid.errors import DataError
from reid.runs.metrics.records import find_runs, newest_run, read_run
from tests.support.metric_tables import write_metrics


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A working folder with a run in every state."""
    train = tmp_path / "train"
    write_metrics(train / "mine/done", age_s=86400)
    write_metrics(train / "mine/going", epochs=1, ends=None)
    write_metrics(train / "mine/killed", epochs=2, ends=None, age_s=86400)
    write_metrics(train / "other/stopped", epochs=2, ends="stopped", age_s=600)
    write_metrics(train / "other/broken", epochs=1, ends="failed", age_s=600)
    (tmp_path / "shards").mkdir()
    return tmp_path


STATES = {
    "mine/done": "finished",
    "mine/going": "running",
    "mine/killed": "interrupted",
    "other/stopped": "stopped",
    "other/broken": "failed",
}


def test_each_run_is_in_its_state(project: Path) -> None:
    assert {record.name: record.state for record in find_runs(str(project))} == STATES


@pytest.mark.parametrize(
    ("folder", "count"), [(".", 5), ("train", 5), ("train/mine", 3), ("train/mine/done", 1)]
)
def test_runs_are_found_from_every_folder_above_them(project: Path, folder: str, count: int) -> None:
    assert len(find_runs(str(project / folder))) == count


def test_a_folder_without_runs_is_told(project: Path) -> None:
    with pytest.raises(DataError, match="no runs here"):
        find_runs(str(project / "shards"))
    with pytest.raises(DataError, match="no run here"):
        read_run(str(project / "train/mine"))


def test_the_newest_run_of_a_folder_is_the_one_written_last(project: Path) -> None:
    assert newest_run(str(project / "train/mine")).name == "mine/going"


def test_progress_and_the_time_left(project: Path) -> None:
    going = read_run(str(project / "train/mine/going"))
    assert (going.epochs, going.steps) == ((1, 4), 100)
    assert going.eta_s == pytest.approx(300, abs=10)  # three epochs of 100 steps, a step a second
    assert read_run(str(project / "train/mine/done")).eta_s is None


def test_why_a_run_failed_is_told(project: Path) -> None:
    assert read_run(str(project / "train/other/broken")).error == "TrainingError: Loss is nan"


def test_a_run_that_reports_rarely_is_not_taken_for_dead(tmp_path: Path) -> None:
    run = write_metrics(tmp_path / "a/slow", epochs=1, ends=None, age_s=1500)
    file = run / "metrics/0001-000001.jsonl"
    lines = file.read_text().splitlines()
    (run / "metrics/0001-000001.jsonl").write_text(lines[0] + "\n" + lines[-1] + "\n")
    assert read_run(str(run)).state == "interrupted"
    import json

    rows = [json.loads(line) for line in lines[-2:]]
    rows[0]["time"] -= 1200
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert read_run(str(run)).state == "running"
