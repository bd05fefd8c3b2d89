"""Search: a campaign ranks its trials, goes on where it was left, and ends as Ctrl-C asks."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from pipelines.tune import ranked
from reid.data.shards.shard_set import ShardSet
from tests.support.places import ROOT
from tests.support.tiny_configs import write_yaml

SPACE = "tune.space={train.optim.lr: {loguniform: [1e-4, 1e-2]}, model.id_weight: {choice: [0.5, 1.0]}}"


def outcome(trial: str, score: float | None, **params: Any) -> dict[str, Any]:
    return {"trial": trial, "score": score, "params": params}


@pytest.mark.parametrize(("mode", "order"), [("max", "cabdef"), ("min", "dcabef")])
def test_equal_scores_have_one_order_however_the_trials_come(mode: str, order: str) -> None:
    """By their drawn fields, then by name; Ray lists a finished campaign in any order."""
    trials = [
        outcome("a", 0.5, lr=0.02, name="adam"),
        outcome("b", 0.5, name="adam", lr=0.02),
        outcome("c", 0.5, name="adam", lr=0.01),
        outcome("d", 0.25, lr=0.001),
        outcome("e", None, lr=0.5),
        outcome("f", None, lr=0.6),
    ]
    for shuffled in permutations(trials):
        assert "".join(t["trial"] for t in ranked(shuffled, mode)) == order


def arguments(folder: Path, shards: ShardSet, *more: str) -> list[str]:
    """A search on the command line, for a process of its own: Tune wants the dashboard."""
    return [
        *(sys.executable, "-m", "jobs.tune", "--config", write_yaml(folder), "--json", SPACE),
        *(f"data.shards={shards.root}", "train.val.fraction=0.5", "train.batch.identities=2"),
        *more,
    ]


def environment() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"} | {"RAY_USAGE_STATS_ENABLED": "0"}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_ctrl_c_keeps_finished_trials_and_never_ends_with_0(shards: ShardSet, tmp_path: Path) -> None:
    long = ("tune.trials=2", "tune.epochs=30", "tune.grace_epochs=30", "tune.concurrent=1")
    command = arguments(tmp_path, shards, *long)
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment(),
        text=True,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stderr is not None
        before = next(line for line in process.stderr if "tune: trial 1/2" in line or "error" in line)
        os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to the whole group
        out, after = process.communicate(timeout=120)
    assert "score" in before
    assert (process.returncode, out) == (130, ""), after
    told = [line for line in after.splitlines() if " epochs (" not in line]
    assert told[0].startswith("tune: stopping; finished trials are kept")
    assert told[-1] == "stopped; run the same command again to go on"
    again = subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=280, check=False
    )
    assert again.returncode == 0, again.stderr[-3000:]
    assert "tune: going on with" in again.stderr
    assert again.stderr.count("tune: trial ") == again.stderr.count("tune: trial 2/2") == 1
    assert len(json.loads(again.stdout)["trials"]) == 2


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_campaign_writes_its_tables_and_does_not_redo_what_is_finished(
    shards: ShardSet, tmp_path: Path
) -> None:
    command = arguments(tmp_path, shards, "tune.trials=2", "tune.epochs=2", "tune.grace_epochs=2")
    lines, trees = [], []
    for _ in range(2):
        done = subprocess.run(
            command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=280, check=False
        )
        assert done.returncode == 0, done.stderr[-3000:]
        trees.append(json.loads(done.stdout))
        lines.append(done.stderr)
    first, second = trees
    assert len(first["trials"]) == 2
    assert [t["epochs"] for t in first["trials"]] == [2, 2]
    assert first["trials"][0]["score"] >= first["trials"][1]["score"]
    assert all(1e-4 <= t["params"]["train.optim.lr"] <= 1e-2 for t in first["trials"])
    assert lines[0].count("tune: trial ") == 2
    assert "tune: 4/4 epochs (100 %)" in lines[0]
    assert second == first
    assert "tune: going on with" in lines[1]
    assert "tune: trial " not in lines[1] and "epochs (" not in lines[1]
    folder = Path(first["uri"])
    assert json.loads((folder / "results.json").read_text()) == first["trials"]
    rows = list(csv.reader((folder / "results.csv").read_text().splitlines()))
    assert rows[0] == [
        "rank",
        "val/mAP",
        "epochs",
        "identities",
        "model.id_weight",
        "train.optim.lr",
        "error",
    ]
    assert len(rows) == 3
    table = (folder / "results.md").read_text()
    assert table.startswith("| rank | val/mAP |")
    assert table.splitlines()[-1].startswith("validation: on 2 identities only; with fewer than 10")
