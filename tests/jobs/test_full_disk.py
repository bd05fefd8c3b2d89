"""A disk that fills up in the middle of a verb: one error with the remedy, nothing lost, and it goes on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.small_disk import NoSmallDisk, SmallDisk
from tests.support.tiny_configs import write_yaml
from tests.support.verb_runs import Ended, run_verb_apart

pytestmark = pytest.mark.slow
CHECKPOINT_BYTES = 9_500_000
"""About, of the tiny model."""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    try:
        with SmallDisk(tmp_path / "disk") as mounted:
            yield mounted
    except NoSmallDisk as error:
        pytest.skip(str(error))


@pytest.fixture
def config(disk: SmallDisk) -> str:
    return write_yaml(disk.folder)


def told_in_time(run: Ended, began: float) -> str:
    """The error of a run on a full disk, which was not tried again for minutes."""
    assert run.code == 1
    assert time.monotonic() - began < 100
    assert "No space left" in run.error
    assert "are free on its disk" in run.error and "Make room" in run.error
    assert "starting again" not in run.err
    return run.error


@pytest.mark.parametrize("workers", [0, 2])
def test_train_keeps_its_last_checkpoint(workers: int, disk: SmallDisk, config: str) -> None:
    assert run_verb_apart("build", config).code == 0
    given = (f"train.workers={workers}", "train.epochs=3", "train.steps_per_epoch=3")
    disk.fill(leave=CHECKPOINT_BYTES * 3 // 2)
    began = time.monotonic()
    failed = run_verb_apart("train", config, *given)
    assert "epoch-0002-step-000000" in told_in_time(failed, began)
    assert "epoch 1/3" in failed.err
    disk.empty()
    resumed = run_verb_apart("train", config, *given)
    assert resumed.code == 0
    assert "resuming from" in resumed.err and "(epoch 1, step 3)" in resumed.err


def test_build_keeps_its_finished_shards(disk: SmallDisk, config: str) -> None:
    disk.fill(leave=250_000)  # two of four shards
    began = time.monotonic()
    assert ".parquet" in told_in_time(run_verb_apart("build", config), began)
    disk.empty()
    assert "2 reused" in run_verb_apart("build", config).out


def test_evaluate_and_index_go_on_after_room_was_made(disk: SmallDisk, config: str) -> None:
    assert run_verb_apart("build", config).code == 0
    assert run_verb_apart("train", config).code == 0
    disk.fill(leave=8192)  # less than one file of vectors
    began = time.monotonic()
    assert "/features/" in told_in_time(run_verb_apart("evaluate", config), began)
    disk.empty()
    assert run_verb_apart("evaluate", config).code == 0
    disk.fill(leave=8192)
    began = time.monotonic()
    assert "/gallery/" in told_in_time(run_verb_apart("index", config), began)
    disk.empty()
    indexed = run_verb_apart("index", config)
    assert "16 items added" in indexed.out
    assert "warning: " not in indexed.err
