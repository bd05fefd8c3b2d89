"""Training: finished runs are returned, and one that was killed goes on where its last checkpoint is."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.training.train import resolve_run, train_run
from reid.data.shards.shard_set import ShardSet
from reid.errors import DataError
from reid.runs.folder import RunFolder
from reid.runs.run import Run
from reid.train.checkpoints.record import RECORD_FILE
from tests.support.places import ROOT
from tests.support.tiny_configs import config_of, silent, write_yaml

LONG = ("train.epochs=6", "train.steps_per_epoch=30")
STEPS = 180


def command(yaml: str, *overrides: str) -> list[str]:
    return [sys.executable, "-m", "jobs.train", "--config", yaml, "--json", *overrides]


def environment() -> dict[str, str]:
    quiet = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}
    return {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"} | quiet


def kill_after(words: str, arguments: list[str]) -> None:
    """Run until a line of stderr has the words; then the driver and all it started die at once."""
    process = subprocess.Popen(
        arguments,
        cwd=ROOT,
        env=environment(),
        text=True,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    seen = []
    for line in process.stderr:
        seen.append(line)
        if words in line:
            break
    else:
        pytest.fail("".join(seen))
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def interrupt_after(words: str, arguments: list[str], seen: list[str]) -> tuple[int, str]:
    """Run until a line of stderr has the words, then Ctrl-C: (exit code, what was said after).

    The lines until then are added to `seen`.
    """
    with subprocess.Popen(
        arguments,
        cwd=ROOT,
        env=environment(),
        text=True,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            seen.append(line)
            if words in line:
                process.send_signal(signal.SIGINT)
                break
        else:
            pytest.fail("".join(seen))
        _, after = process.communicate(timeout=120)
    return process.returncode, after


def finish(arguments: list[str]) -> tuple[dict[str, object], str]:
    """Run to the end: (what it printed as JSON, stderr)."""
    done = subprocess.run(
        arguments, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(json.loads(done.stdout)), done.stderr


def test_a_finished_run_is_returned_and_not_trained_again(any_run: Run, workdir: Path) -> None:
    again = train_run(config_of(workdir), silent)
    assert not again.trained
    assert again.run.uri == any_run.uri
    assert again.run.info["steps"] == 2


def test_no_epochs_give_a_run_of_the_initial_weights(matched_run: Run) -> None:
    assert (matched_run.folder.info["epochs"], matched_run.folder.info["steps"]) == (0, 0)
    assert matched_run.folder.metrics() == []


def test_where_it_runs_does_not_change_a_runs_name_but_what_it_learns_does(
    shards: ShardSet, workdir: Path
) -> None:
    _, uri = resolve_run(config_of(workdir))
    for same in (
        "train.workers=2",
        "train.max_failures=3",
        "train.checkpoint.every_epochs=5",
        "evaluate.actors=3",
    ):
        assert resolve_run(config_of(workdir, same))[1] == uri
    for other in ("train.epochs=2", "seed=1", "model.triplet_weight=0.5", "train.augment.flip=0"):
        assert resolve_run(config_of(workdir, other))[1] != uri


def test_training_needs_a_built_set_and_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no shard set here.*jobs\.build"):
        train_run(config_of(tmp_path), silent)


@pytest.mark.slow
def test_ctrl_c_stops_a_training_on_ray_at_once_and_says_how_to_go_on(
    shards: ShardSet, tmp_path: Path
) -> None:
    on_ray = ("train.epochs=200", "train.workers=1")
    arguments = command(write_yaml(tmp_path), f"data.shards={shards.root}", *on_ray)
    said: list[str] = []
    code, after = interrupt_after("train: epoch 2/200", arguments, said)
    assert code == 130, after
    assert after.splitlines()[-1] == "stopped; run the same command again to go on"
    assert "Traceback" not in after
    code, _ = interrupt_after("train: resuming from", arguments, said)  # it went on, and is stopped again
    assert code == 130
    epoch = re.search(r"resuming from .*epoch-(\d+)", said[-1])
    assert epoch and int(epoch[1]) >= 2, said  # what was told is kept


@pytest.mark.slow
def test_a_run_killed_after_its_first_epoch_goes_on_and_ends_the_same(
    shards: ShardSet, tmp_path: Path
) -> None:
    yaml = write_yaml(tmp_path)
    where = f"data.shards={shards.root}"
    arguments = command(yaml, where, *LONG)
    kill_after("train: epoch 1/6", arguments)
    (first,) = (tmp_path / "work/train/tiny").glob(f"*/checkpoints/epoch-0001*/{RECORD_FILE}")
    uri = str(first.parent.parent.parent)
    config = config_of(tmp_path / "work", where, *LONG)
    assert resolve_run(config)[1] == uri
    said: list[str] = []
    resumed = train_run(config, said.append).run
    assert resumed.uri == uri
    assert any("train: resuming from" in line for line in said)
    assert not any("train: epoch 1/6" in line for line in said)
    assert resumed.info["steps"] == STEPS
    assert [row["epoch"] for row in resumed.metrics()] == [1, 2, 3, 4, 5, 6]
    assert not first.exists()
    (last,) = (tmp_path / "work/train/tiny").glob(f"*/checkpoints/*/{RECORD_FILE}")
    assert last.parent.name == "epoch-0006-step-000000"
    whole = train_run(config_of(tmp_path / "other", where, *LONG), silent).run
    assert whole.info["steps"] == STEPS
    losses = [[round(row["loss"], 3) for row in run.metrics()] for run in (resumed, whole)]
    assert losses[0] == losses[1]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_workers_killed_with_their_driver_go_on_from_the_checkpoint(shards: ShardSet, tmp_path: Path) -> None:
    yaml = write_yaml(tmp_path)
    overrides = (
        f"data.shards={shards.root}",
        "train.workers=2",
        "train.epochs=4",
        "train.steps_per_epoch=40",
    )
    arguments = command(yaml, *overrides)
    kill_after("train: epoch 1/4", arguments)
    result, said = finish(arguments)
    assert "train: resuming from" in said
    assert "train: epoch 1/4" not in said
    run = RunFolder.open(str(result["run"]))
    assert run.info["steps"] == 160
    assert [row["epoch"] for row in run.metrics()] == [1, 2, 3, 4]
