"""Runs side by side: fields that differ, metrics sorted, conditions."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from reid.errors import UsageError
from reid.runs.metrics.comparing import config_differences, metric_rows, sorted_by, where
from reid.runs.metrics.records import RunRecord, find_runs
from tests.support.metric_tables import write_metrics


@pytest.fixture
def records(tmp_path: Path) -> list[RunRecord]:
    """Three runs of one name, with learning rates."""
    for name, level, lr in (("a", 0.4, 1e-3), ("b", 0.6, 3e-4), ("c", 0.5, 1e-4)):
        write_metrics(tmp_path / "mine" / name, level=level, optim={"lr": lr})
    return find_runs(str(tmp_path / "mine"))


def test_only_the_fields_that_differ_are_shown(records: list[RunRecord]) -> None:
    assert config_differences(records) == [("train.optim.lr", [1e-3, 3e-4, 1e-4])]


def test_validation_comes_first_with_last_and_best(records: list[RunRecord]) -> None:
    (name, cells), *others = metric_rows(records)
    assert name == "val/mAP"
    assert [last for last, _ in cells] == [r.table.epochs()[-1]["val/mAP"] for r in records]
    assert others[0][0] == "loss"


def test_the_best_run_is_the_first(records: list[RunRecord]) -> None:
    assert [r.name for r in sorted_by(records, "val/mAP")] == ["mine/b", "mine/c", "mine/a"]


def test_runs_that_diverged_are_the_last(tmp_path: Path) -> None:
    for name, level in (("a", 0.4), ("b", math.nan), ("c", 0.6), ("d", math.nan), ("e", 0.5)):
        write_metrics(tmp_path / "mine" / name, level=level)
    names = [r.name for r in sorted_by(find_runs(str(tmp_path / "mine")), "val/mAP")]
    assert names == [f"mine/{name}" for name in "cea" + "bd"]


@pytest.mark.parametrize(
    ("conditions", "kept"),
    [
        (["train.optim.lr<=3e-4"], ["mine/b", "mine/c"]),
        (["val/mAP > 0.45", "train.optim.lr=1e-4"], ["mine/c"]),
        (["state=finished"], ["mine/a", "mine/b", "mine/c"]),
        (["state!=finished"], []),
    ],
)
def test_conditions_name_states_metrics_and_fields(
    records: list[RunRecord], conditions: list[str], kept: list[str]
) -> None:
    assert [r.name for r in where(records, conditions)] == kept


def test_an_unknown_metric_or_field_is_told_with_the_nearest(records: list[RunRecord]) -> None:
    with pytest.raises(UsageError, match="Did you mean 'val/mAP'"):
        sorted_by(records, "val/mPA")
    with pytest.raises(UsageError, match=r"Did you mean train\.optim\.lr"):
        where(records, ["train.optim.l>1"])
    with pytest.raises(UsageError, match="NAME OP VALUE"):
        where(records, ["best"])
