"""Runs with 0 and with n workers read each other's checkpoints, and what was told is kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.training.train import train_run
from reid.config import Config
from reid.data.shards.shard_set import ShardSet
from reid.storage.run_files import RUN_FILE
from reid.train.checkpoints.retention import complete_records
from tests.support.tiny_configs import config_of


class Stopped(Exception):
    """As Ctrl-C would end the process, from the line of an epoch."""


@pytest.mark.slow
def test_none_then_two_then_none_go_on_from_each_other(shards: ShardSet, tmp_path: Path) -> None:
    said: list[str] = []

    def config(workers: int) -> Config:
        where = (f"data.shards={shards.root}", "train.epochs=6", f"train.workers={workers}")
        return config_of(tmp_path / "work", *where)

    def stop(line: str) -> None:
        said.append(line)
        if "epoch 2/6" in line:
            raise Stopped

    with pytest.raises(Stopped):
        train_run(config(0), stop)
    (run,) = (tmp_path / "work/train/tiny").iterdir()
    assert next(iter(complete_records(str(run)).values())).world == 1
    two = train_run(config(2), said.append).run
    assert two.uri == str(run)
    assert sum("epoch 1/6" in line for line in said) == 1
    assert [row["epoch"] for row in two.metrics()] == [1, 2, 3, 4, 5, 6]
    (newest, *_) = complete_records(str(run)).values()
    assert (newest.world, newest.epoch) == (2, 6)
    (run / RUN_FILE).unlink()  # as if it had been killed just before its end
    none = train_run(config(0), said.append).run
    assert none.fingerprint == two.fingerprint
    resumed = [line for line in said if "resuming from" in line]
    assert ["epoch 2" in resumed[0] or "epoch 3" in resumed[0], "epoch 6" in resumed[1]] == [True, True]
