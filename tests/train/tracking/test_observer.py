"""What a training leaves behind: the same numbers in its table and in TensorBoard, resumed without a seam."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from reid.errors import StorageError, TrainingError
from reid.runs.folder import RunFolder
from reid.runs.metrics.table import MetricsTable
from reid.storage import parts
from reid.train.loop import train
from reid.train.reports import EpochReport
from reid.train.tracking.tensorboard import TensorBoard
from tests.support.event_files import scalars
from tests.support.models.observers import Recorder
from tests.support.models.rank_comparison import same, weights
from tests.support.models.tiny_training import Configure

EVERY = ("train.log_every=1", "train.tracking.every_s=0")


def test_a_run_has_a_row_a_report_and_a_row_an_epoch(configure: Configure, tmp_path: Path) -> None:
    recorder = Recorder()
    train(configure("train.epochs=2", *EVERY), str(tmp_path / "run"), observer=recorder)
    table = MetricsTable.of(str(tmp_path / "run"))
    assert [(r["total"], r["loss"]) for r in table.steps()] == [
        (s.total, s.metrics["loss"]) for s in recorder.steps
    ]
    assert [r["loss"] for r in table.epochs()] == [e.metrics["loss"] for e in recorder.epochs]
    assert {"loss/id", "lr", "grad_norm", "rows_per_s", "data_wait", "step_seconds"} <= set(table.names())
    assert table.ended is not None and table.ended["why"] == "finished"
    assert RunFolder.open(str(tmp_path / "run")).metrics() == table.epochs()
    assert [file.name for file in (tmp_path / "run/metrics").iterdir()] == ["0001-all.parquet"]


def test_tensorboard_has_the_numbers_of_the_table(configure: Configure, tmp_path: Path) -> None:
    train(configure("train.epochs=2", *EVERY), str(tmp_path / "run"))
    table, found = MetricsTable.of(str(tmp_path / "run")), scalars(tmp_path / "run/tensorboard")
    for name in ("loss", "loss/id", "lr", "grad_norm"):
        assert found[name] == [(n, pytest.approx(v)) for n, v in table.series(name)]
    means = [(row["total"], pytest.approx(row["loss"])) for row in table.epochs()]
    assert found["epoch/loss"] == means


def test_a_resumed_run_goes_on_in_table_and_tensorboard(configure: Configure, tmp_path: Path) -> None:
    config, run = configure("train.epochs=3", *EVERY), tmp_path / "run"

    def interrupt(report: EpochReport) -> None:
        if report.epoch == 2:
            raise KeyboardInterrupt

    first = Recorder(tmp_path / "state", on_epoch=interrupt)
    first.on_checkpoint = lambda place: None if place.epoch == 1 else _raise_lost()
    with pytest.raises(ConnectionError):  # the second epoch is trained, its checkpoint is not written
        train(config, str(run), observer=first)
    table = MetricsTable.of(str(run))
    assert [row["total"] for row in table.steps()] == [1, 2, 3, 4, 5, 6]
    assert table.ended is not None and "lost" in table.ended["error"]

    train(config, str(run), resume=tmp_path / "state")
    table, found = MetricsTable.of(str(run)), scalars(run / "tensorboard")
    assert [(r["total"], r["attempt"]) for r in table.steps()] == [
        *((n, 1) for n in (1, 2, 3)),
        *((n, 2) for n in (4, 5, 6, 7, 8, 9)),
    ]
    assert [row["epoch"] for row in table.epochs()] == [1, 2, 3]
    assert found["loss"] == [(n, pytest.approx(v)) for n, v in table.series("loss")]


def _raise_lost() -> None:
    raise ConnectionError("the node is lost")


def test_tracking_that_fails_is_told_once_and_changes_nothing(
    configure: Configure,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    train(configure("train.epochs=1", *EVERY), str(tmp_path / "well"))

    def refuse(uri: str, data: bytes) -> None:
        raise StorageError("the store is out")

    def broken(self: TensorBoard, total: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(parts, "write_bytes", refuse)
    monkeypatch.setattr("reid.train.tracking.observer._FLUSH_S", 0.1)
    monkeypatch.setattr("reid.train.tracking.observer._END_S", 0.1)
    monkeypatch.setattr(TensorBoard, "begin", broken)
    with caplog.at_level(logging.WARNING):
        train(configure("train.epochs=1", *EVERY), str(tmp_path / "out"))
    assert same(weights(tmp_path / "well"), weights(tmp_path / "out"))
    told = [record.getMessage() for record in caplog.records]
    assert sum("cannot be written (the store is out)" in line for line in told) == 1
    assert sum("no space left" in line for line in told) == 1
    assert RunFolder.open(str(tmp_path / "out")).metrics() == []


def test_a_failed_run_says_so_in_its_table(configure: Configure, tmp_path: Path) -> None:
    config = configure("train.epochs=1", "train.optim.lr=1e30", "train.optim.warmup_epochs=0", *EVERY)
    with pytest.raises(TrainingError):
        train(config, str(tmp_path / "run"))
    ended = MetricsTable.of(str(tmp_path / "run")).ended
    assert ended is not None and ended["why"] == "failed"
    assert "Loss is" in ended["error"]


def test_the_configuration_lies_there_from_the_start(configure: Configure, tmp_path: Path) -> None:
    config, seen = configure("train.epochs=1"), []
    run = tmp_path / "run"
    recorder = Recorder(on_epoch=lambda report: seen.append(json.loads((run / "config.json").read_text())))
    train(config, str(run), observer=recorder)
    assert seen == [config.model_dump(mode="json")]


def test_the_mfu_is_told_where_the_peak_is_known(configure: Configure, tmp_path: Path) -> None:
    train(configure("train.epochs=1", "train.tracking.peak_tflops=0.1", *EVERY), str(tmp_path / "run"))
    table = MetricsTable.of(str(tmp_path / "run"))
    rates, shares = table.series("rows_per_s"), table.series("mfu")
    ratios = [share / rate for (_, rate), (_, share) in zip(rates, shares, strict=True)]
    assert min(ratios) > 0
    assert ratios == pytest.approx([ratios[0]] * len(ratios))  # operations of a row over the peak
