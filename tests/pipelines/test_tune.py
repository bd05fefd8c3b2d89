"""Search: a space that cannot work is told by its field, and a campaign goes on where it was left."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from pipelines.tune import ranked
from reid.data.shards.shard_set import ShardSet
from reid.errors import ConfigError
from reid.preflight.search_space import check_space
from tests.support.places import ROOT
from tests.support.tiny_configs import config_of, write_yaml

SPACE = "tune.space={train.optim.lr: {loguniform: [1e-4, 1e-2]}, model.id_weight: {choice: [0.5, 1.0]}}"


def test_a_space_of_every_kind_is_accepted() -> None:
    kinds = (
        "train.optim.lr: {loguniform: [1e-4, 1e-2]}",
        "train.optim.name: {choice: [adam, adamw]}",
        "train.batch.instances: {randint: [2, 5]}",
        "train.optim.weight_decay: {uniform: [0, 0.1]}",
    )
    check_space(config_of("/w", f"tune.space={{{', '.join(kinds)}}}"))


@pytest.mark.parametrize(
    ("space", "words"),
    [
        ("{}", ["tune.space: empty"]),
        ("{train.optim.lrr: {uniform: [0.1, 0.2]}}", ["train.optim.lrr", "Did you mean 'lr'?"]),
        ("{train.optim.lr: {uniform: [0.2, 0.1]}}", ["tune.space.train.optim.lr.uniform", "not below"]),
        ("{train.optim.lr: {uniform: [0.1]}}", ["tune.space.train.optim.lr.uniform", "expected 2"]),
        ("{train.optim.lr: {choice: []}}", ["tune.space.train.optim.lr.choice", "at least one"]),
        (
            "{train.optim.lr: {uniform: [0.1, 0.2], choice: [1]}}",
            ["tune.space.train.optim.lr", "exactly one"],
        ),
        ("{train.optim.name: {choice: [adam, sgd]}}", ["train.optim.name", "'sgd'"]),
        ("{train.optim.lr: {uniform: [0.1, fast]}}", ["train.optim.lr", "'fast'"]),
        ("{train.optim.lr: {uniform: [-0.1, 0.1]}}", ["train.optim.lr", "-0.1"]),
        ("{train.optim.weight_decay: {loguniform: [0, 0.1]}}", ["weight_decay.loguniform", "above 0"]),
        ("{train.batch.instances: {uniform: [2, 5]}}", ["train.batch.instances", "integer"]),
        ("{train.optim.name: {uniform: [adam, adamw]}}", ["train.optim.name.uniform", "two numbers"]),
        ("{train.optim.lr: {normal: [0, 1]}}", ["tune.space", "choice"]),
    ],
)
def test_a_space_that_cannot_work_names_the_field(space: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        check_space(config_of("/w", f"tune.space={space}"))
    for word in words:
        assert word in str(caught.value)


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


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_campaign_writes_its_tables_and_does_not_redo_what_is_finished(
    shards: ShardSet, tmp_path: Path
) -> None:
    """In processes of its own: Tune wants the dashboard, which the shared Ray does without."""
    arguments = [
        *(sys.executable, "-m", "jobs.tune", "--config", write_yaml(tmp_path), "--json", SPACE),
        *(f"data.shards={shards.root}", "train.val.fraction=0.5", "train.batch.identities=2"),
        *("tune.trials=2", "tune.epochs=2", "tune.grace_epochs=2"),
    ]
    env = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"} | {"RAY_USAGE_STATS_ENABLED": "0"}
    lines, trees = [], []
    for _ in range(2):
        done = subprocess.run(
            arguments, cwd=ROOT, env=env, capture_output=True, text=True, timeout=280, check=False
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
    assert second == first
    assert "tune: going on with" in lines[1]
    assert "tune: trial " not in lines[1]
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
    assert (folder / "results.md").read_text().startswith("| rank | val/mAP |")
