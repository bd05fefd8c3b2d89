"""A changed configuration finds the runs that it could go on from, and goes on from one when asked."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from pipelines.training.train import resolve_run, train_run
from reid.config import Config
from reid.data.shards.shard_set import ShardSet
from reid.errors import UsageError, WeightsError
from reid.runs.folder import RunFolder
from reid.runs.lock import LOCK_FILE, Owner
from reid.runs.metrics.table import metrics_folder
from reid.train.naming import numbers
from tests.support.models.tiny_training import publish_tiny_set
from tests.support.tiny_configs import config_of, silent

MODEL = (
    "data.modalities=rgb+nir",
    "model.fusion=concat",
    "data.height=32",
    "data.width=16",
    "train.steps_per_epoch=2",
)

SIGNAL = (
    "model={name: signal, weights: random, tower: {arch: null, patch: 4, width: 32, layers: 1, heads: 2, "
    "dim: 16}, sim: {k1: 5, heads: 4, hidden: 24}, lam: {stride: 2}}"
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> ShardSet:
    return publish_tiny_set(tmp_path_factory.mktemp("shards"))


def configured(tmp_path: Path, shards: ShardSet, *overrides: str) -> Config:
    return config_of(tmp_path / "work", f"data.shards={shards.root}", *MODEL, *overrides)


def test_a_longer_training_is_told_of_the_shorter_one_and_trains_the_rest_when_asked(
    tiny: ShardSet, tmp_path: Path
) -> None:
    short = train_run(configured(tmp_path, tiny, "train.epochs=2"), silent).run
    longer = configured(tmp_path, tiny, "train.epochs=3", "train.optim.lr=1e-3")
    said: list[str] = []
    run = train_run(longer, said.append, continue_from=short.uri).run
    assert run.uri != short.uri
    assert not any("epoch 1/3" in line or "epoch 2/3" in line for line in said)
    assert any("epoch 3/3, step 6" in line for line in said)
    assert [row["epoch"] for row in run.metrics()] == [1, 2, 3]
    parent = run.info["origin"]["parent"]
    assert (parent["run"], parent["epoch"], parent["step"]) == (short.uri, 2, 4)
    assert parent["differences"] == [
        "train.epochs: 2 there, 3 here",
        "train.optim.lr: 0.00035 there, 0.001 here",
    ]
    other = configured(tmp_path, tiny, "train.epochs=4", "train.optim.lr=1e-3")
    told: list[str] = []
    anew = train_run(other, told.append).run
    block = "\n".join(told)
    assert f"{run.uri}: finished after epoch 3, step 6\ntrain:     train.epochs: 3 there, 4 here" in block
    assert f"training anew; to go on from one instead: --continue {run.uri}" in block
    assert anew.info["origin"]["parent"] is None
    assert any("epoch 1/4" in line for line in told)


def test_the_parents_table_is_copied_once_and_not_over_the_runs_own(
    tiny: ShardSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = train_run(configured(tmp_path, tiny), silent).run
    longer = configured(tmp_path, tiny, "train.epochs=2")
    with monkeypatch.context() as patch:  # stopped before its first checkpoint
        patch.setattr("pipelines.training.train.train_here", lambda *_: None)
        with pytest.raises(WeightsError, match="no finished run"):
            train_run(longer, silent, continue_from=short.uri)
        tables = list(Path(metrics_folder(resolve_run(longer)[1])).iterdir())
        assert tables
        tables[0].write_bytes(b"its own rows")
        with pytest.raises(WeightsError, match="no finished run"):
            train_run(longer, silent, continue_from=short.uri)
    assert tables[0].read_bytes() == b"its own rows"


def test_another_seed_is_another_run_on_purpose(tiny: ShardSet, tmp_path: Path) -> None:
    train_run(configured(tmp_path, tiny), silent)
    said: list[str] = []
    train_run(configured(tmp_path, tiny, "seed=1"), said.append)
    assert not any("--continue" in line for line in said)


def test_code_that_computes_other_numbers_is_a_difference(
    tiny: ShardSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = train_run(configured(tmp_path, tiny), silent).run
    for module in ("pipelines.training.train", "reid.train.naming.relatives"):
        monkeypatch.setattr(f"{module}.code_fingerprint", lambda config: "changed")
    said: list[str] = []
    assert train_run(configured(tmp_path, tiny), said.append).run.uri != first.uri
    assert any("code: the source computes other numbers" in line for line in said)


def test_an_edit_that_changes_no_number_finds_its_run_and_is_recorded(
    tiny: ShardSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = resolve_run(configured(tmp_path, tiny))[1]
    numbers._of.cache_clear()
    monkeypatch.setattr(numbers, "source_hash", lambda *names: "edited")
    run = train_run(configured(tmp_path, tiny), silent).run
    assert run.uri == uri
    assert run.info["origin"]["sources"] == ["edited"]


def test_what_cannot_be_continued_is_refused_before_any_work(tiny: ShardSet, tmp_path: Path) -> None:
    short = train_run(configured(tmp_path, tiny, "train.epochs=2"), silent).run
    with pytest.raises(UsageError, match=r"has 2 epochs, and train\.epochs=1 leaves nothing"):
        train_run(configured(tmp_path, tiny), silent, continue_from=short.uri)
    with pytest.raises(UsageError, match="no run with a complete checkpoint"):
        train_run(configured(tmp_path, tiny), silent, continue_from=str(tmp_path))
    held_out = configured(tmp_path, tiny, "train.epochs=3", "train.val.fraction=0.25")
    with pytest.raises(WeightsError, match="other identities or cameras"):
        train_run(held_out, silent, continue_from=short.uri)
    signal = configured(tmp_path, tiny, "train.epochs=3", SIGNAL)
    with pytest.raises(WeightsError, match=r"a checkpoint of model\.name=baseline; this run trains signal"):
        train_run(signal, silent, continue_from=short.uri)


def test_a_run_that_another_process_writes_is_refused_before_any_work(tiny: ShardSet, tmp_path: Path) -> None:
    config = configured(tmp_path, tiny)
    uri = Path(resolve_run(config)[1])
    uri.mkdir(parents=True)
    owner = Owner("x", "elsewhere", 7, "train", time.time() - 90, time.time(), 20)
    (uri / LOCK_FILE).write_text(json.dumps(asdict(owner)))
    with pytest.raises(
        UsageError, match=r"another process writes this run: process 7 on elsewhere \(train\), for 90 s"
    ):
        train_run(config, silent)
    assert sorted(path.name for path in uri.iterdir()) == [LOCK_FILE]


def test_a_damaged_checkpoint_costs_an_epoch_and_not_the_run(tiny: ShardSet, tmp_path: Path) -> None:
    config = configured(tmp_path, tiny, "train.epochs=4", "train.checkpoint.keep=3")
    whole = train_run(config, silent).run
    weights = RunFolder.open(whole.uri).weights()
    (Path(whole.uri) / "run.json").unlink()
    checkpoint = next((Path(whole.uri) / "checkpoints").iterdir())
    (checkpoint / "weights.safetensors").write_bytes(b"broken")
    with pytest.raises(WeightsError, match="none of 1 checkpoints can be used"):
        train_run(config, silent)
    assert weights
