"""A training's lines: written where it runs, shown where it was started, each once."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from pipelines.training import run_log
from pipelines.training.run_log import RunLog
from reid.errors import StorageError
from reid.storage.parts import list_parts


def test_lines_written_elsewhere_are_shown_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_log, "_LOOK_S", 0.05)
    run, shown = str(tmp_path), []
    RunLog(run).write("before")
    with RunLog(run).shown(shown.append):
        first = RunLog(run)
        first.write("epoch 1")
        first.write("epoch 2")
        RunLog(run).write("resumed")  # another worker, after a failure
    assert shown == ["epoch 1", "epoch 2", "resumed"]
    assert RunLog(run).lines() == ["before", "epoch 1", "epoch 2", "resumed"]


def test_a_line_costs_one_small_part_however_many_there_are(tmp_path: Path) -> None:
    log = RunLog(str(tmp_path))
    for n in range(30):
        log.write(f"line {n:04d}")
    assert {Path(part.uri).stat().st_size for part in list_parts(str(tmp_path / "log"))} == {10}


def test_the_more_parts_there_are_the_more_seldom_they_are_listed() -> None:
    assert [run_log.pause_s(parts) for parts in (0, 1000, 4000, 10**6)] == [1.0, 1.0, 4.0, 10.0]


def test_lines_that_cannot_be_read_are_told_once_and_shown_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, shown = [0], []

    def read(parts: list[object]) -> list[object]:
        looks[0] += 1
        if looks[0] < 3:
            raise StorageError("the store is out")
        return real(parts)  # type: ignore[arg-type]

    real = run_log.read_parts
    monkeypatch.setattr(run_log, "_LOOK_S", 0.05)
    log = RunLog(str(tmp_path))
    with log.shown(shown.append):
        monkeypatch.setattr(run_log, "read_parts", read)
        log.write("epoch 1")
        while looks[0] < 4:
            time.sleep(0.01)
    assert shown == ["train: its lines cannot be read for now (the store is out)", "epoch 1"]
