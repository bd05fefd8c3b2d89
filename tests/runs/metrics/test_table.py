"""The metrics table: it grows by appending, each step once one file in the end."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from reid.runs.metrics import writing
from reid.runs.metrics.table import MetricsTable, TableReader
from reid.runs.metrics.writing import TableWriter
from reid.storage.parts import list_parts


def train(run: str, start: int, end: int, why: str | None = None, note: str = "") -> None:
    """Steps start+10, …, end of an attempt, an epoch every 50 steps; `why` None: it is killed."""
    writer = TableWriter(run, every_s=0.0)
    writer.row("begin", total=start, epoch=start // 50)
    for total in range(start + 10, end + 1, 10):
        writer.row("step", total, total // 50, {"loss": 1 / total, "note": note})
        if total % 50 == 0:
            writer.row("epoch", total, total // 50, {"loss": 2 / total, "val/mAP": total / 1000})
    if why:
        assert writer.end(why, end, end // 50)
    else:
        assert writer.flush(10.0)


def steps(table: MetricsTable) -> list[int]:
    return [row["total"] for row in table.steps()]


def test_a_running_table_is_read_and_then_only_what_is_new(tmp_path: Path) -> None:
    run = str(tmp_path)
    writer = TableWriter(run, every_s=0.0)
    reader = TableReader(run)
    assert reader.update() == 0
    for total in (10, 20):
        writer.row("step", total, 0, {"loss": 1.0})
        assert writer.flush(10.0)
        assert reader.update() == 1
        assert reader.update() == 0
    assert steps(reader.table()) == [10, 20]
    assert reader.table().ended is None
    writer.end("stopped", 20, 0)


def test_a_resumed_run_has_each_step_once(tmp_path: Path) -> None:
    run = str(tmp_path)
    train(run, 0, 130, note="killed")
    train(run, 100, 150, "finished")
    table = MetricsTable.of(run)
    assert steps(table) == list(range(10, 151, 10))
    assert [row["total"] for row in table.epochs()] == [50, 100, 150]
    assert table.ended is not None and table.ended["why"] == "finished"


def test_an_attempt_that_resumes_earlier_replaces_two_before_it(tmp_path: Path) -> None:
    run = str(tmp_path)
    train(run, 0, 130)
    train(run, 100, 200)
    train(run, 50, 60, "stopped")
    table = MetricsTable.of(run)
    assert steps(table) == [10, 20, 30, 40, 50, 60]
    assert [r["attempt"] for r in table.steps()] == [1, 1, 1, 1, 1, 3]
    assert table.superseded == 9 + 13


def test_going_back_within_one_attempt_replaces_its_own_rows(tmp_path: Path) -> None:
    writer = TableWriter(str(tmp_path), every_s=0.0)
    for kind, total, loss in [
        ("begin", 0, 0.0),
        ("step", 10, 1.0),
        ("step", 20, math.nan),
        ("begin", 10, 0.0),
        ("step", 20, 0.5),
    ]:
        writer.row(kind, total, 0, {"loss": loss} if kind == "step" else None)
    writer.end("stopped", 20, 0)
    assert MetricsTable.of(str(tmp_path)).series("loss") == [(10, 1.0), (20, 0.5)]


def test_a_finished_table_is_one_file_with_the_same_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(str(tmp_path / "apart"), 0, 100, "stopped")
    train(str(tmp_path / "whole"), 0, 100, "finished")
    (file,) = (tmp_path / "whole/metrics").iterdir()
    assert file.name == "0001-all.parquet"
    whole, apart = MetricsTable.of(str(tmp_path / "whole")), MetricsTable.of(str(tmp_path / "apart"))
    assert whole.series("loss") == apart.series("loss")
    assert whole.names() == apart.names() == ["loss", "val/mAP"]
    columns = pq.read_table(io.BytesIO(file.read_bytes()))
    assert columns["total"].to_pylist()[1:4] == [10, 20, 30]


def test_parts_that_are_left_beside_the_one_file_count_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing.storage, "delete_file", lambda uri: None)  # killed before it deletes them
    train(str(tmp_path), 0, 100, "finished")
    assert list_parts(str(tmp_path / "metrics"))
    assert steps(MetricsTable.of(str(tmp_path))) == list(range(10, 101, 10))


def test_a_finished_run_that_is_lengthened_goes_on_in_its_table(tmp_path: Path) -> None:
    train(str(tmp_path), 0, 100, "finished")
    train(str(tmp_path), 100, 150, "finished")
    assert [f.name for f in (tmp_path / "metrics").iterdir()] == ["0002-all.parquet"]
    assert steps(MetricsTable.of(str(tmp_path))) == list(range(10, 151, 10))


def test_a_reader_follows_into_the_one_file(tmp_path: Path) -> None:
    run = str(tmp_path)
    writer, reader = TableWriter(run, every_s=0.0), TableReader(run)
    writer.row("step", 10, 0, {"loss": 1.0})
    assert writer.flush(10.0)
    assert reader.update() == 1
    writer.end("finished", 10, 0)
    assert reader.update() == 1
    assert [row["kind"] for row in reader.table().rows] == ["step", "end"]


def test_lines_that_are_no_rows_are_counted(tmp_path: Path) -> None:
    train(str(tmp_path), 0, 20, "stopped")
    (tmp_path / "metrics/0001-000099.jsonl").write_text('{"kind": "step"\n[1]\n')
    table = MetricsTable.of(str(tmp_path))
    assert steps(table) == [10, 20]
    assert table.unread == 2


def test_the_best_of_a_loss_is_its_lowest(tmp_path: Path) -> None:
    def row(total: int, **metrics: Any) -> dict[str, Any]:
        return {"kind": "epoch", "total": total, "epoch": 1, "time": 0.0, **metrics}

    table = MetricsTable(
        [
            row(1, loss=2.0, **{"val/mAP": 0.5}),
            row(2, loss=1.0, **{"val/mAP": 0.7}),
            row(3, loss=1.5, **{"val/mAP": 0.6}),
        ]
    )
    assert (table.best("loss"), table.best("val/mAP")) == (1.0, 0.7)
    assert (table.last("loss"), table.last("val/mAP")) == (1.5, 0.6)
    assert table.best("none") is None


@pytest.mark.slow
def test_the_table_lies_on_an_object_store_too(bucket: str) -> None:
    train(f"{bucket}/run", 0, 130)
    train(f"{bucket}/run", 100, 150)
    assert steps(MetricsTable.of(f"{bucket}/run")) == list(range(10, 151, 10))
    train(f"{bucket}/run", 150, 160, "finished")
    assert steps(MetricsTable.of(f"{bucket}/run")) == list(range(10, 161, 10))
