"""Stopping before the last epoch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reid.config.sections.training.averaging import StopEarlyConfig
from reid.errors import ConfigError
from reid.train.loop import train
from reid.train.stopping import why_stopped
from reid.train.validation.checks import check_early_stopping
from tests.support.models.observers import Recorder
from tests.support.models.tiny_training import Configure


def history(*values: float | None) -> list[dict[str, float]]:
    """Epochs with these validations; None: none was due."""
    found = []
    for epoch, value in enumerate(values, 1):
        found.append({"epoch": epoch} | ({} if value is None else {"val/mAP": value}))
    return found


@pytest.mark.parametrize(
    ("values", "stops"),
    [
        ((0.1, 0.2, 0.3, 0.4), False),
        ((0.4, 0.3), False),
        ((0.4, 0.3, 0.4), True),  # equal is not better
        ((0.4, None, 0.3, None), False),  # epochs without validation do not count
        ((0.4, 0.3, 0.5, 0.4), False),
    ],
)
def test_patience_counts_validations_since_the_best(values: tuple[float | None, ...], stops: bool) -> None:
    assert (why_stopped(history(*values), StopEarlyConfig(patience=2)) is not None) == stops
    assert why_stopped(history(*values), None) is None


def test_a_smaller_rise_than_asked_for_is_none() -> None:
    slow = history(0.4, 0.41, 0.42, 0.43)
    assert why_stopped(slow, StopEarlyConfig(patience=3)) is None
    reason = why_stopped(slow, StopEarlyConfig(patience=3, min_delta=0.05))
    assert reason is not None
    assert "0.4 after epoch 1" in reason


def test_a_metric_that_is_not_measured_is_told_with_those_that_are() -> None:
    with pytest.raises(ConfigError, match=r"stop_early.metric: 'val/R1' .* known: val/mAP"):
        why_stopped(history(0.4), StopEarlyConfig(patience=1, metric="val/R1"))


def test_it_needs_validations(configure: Configure) -> None:
    settings = configure("train.stop_early={patience: 2}").train
    with pytest.raises(ConfigError, match=r"stop_early.*train.val.fraction"):
        check_early_stopping(settings, validates=False)
    check_early_stopping(settings, validates=True)  # a set with a val split needs no fraction
    with pytest.raises(ConfigError, match=r"metric"):
        configure("train.stop_early={patience: 2, metric: loss}", "train.val.fraction=0.5")


def test_a_run_that_stopped_says_so_and_stays_stopped(configure: Configure, tmp_path: Path) -> None:
    config = configure(
        "train.epochs=9", "train.val.fraction=0.5", "train.stop_early={patience: 2, min_delta: 1}"
    )
    seen = Recorder()
    train(config, str(tmp_path / "run"), observer=seen)
    info = json.loads((tmp_path / "run" / "run.json").read_text())
    assert info["epochs"] == 3
    assert "after epoch 1 and not better in 2 validations" in info["stopped_early"]
    assert seen.places[-1].last
