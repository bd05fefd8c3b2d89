"""Training end to end in this process: repeatable, and clear about what went wrong."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from reid.config import Config
from reid.data.shards.shard_set import ShardSet
from reid.errors import TrainingError
from reid.models.baseline.model import Model
from reid.runs.run import load_run
from reid.train.loop import initialise_from, train
from tests.support.models.rank_comparison import MEAN_WITH_TEXT, PLAIN, new_model, same, weights

Configure = Callable[..., Config]


def test_training_is_a_function_of_its_seed(configure: Configure, tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        train(configure("train.epochs=1", f"seed={seed}"), str(tmp_path / name))
    assert same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert not same(weights(tmp_path / "a"), weights(tmp_path / "c"))


def test_the_number_of_loader_threads_changes_nothing(configure: Configure, tmp_path: Path) -> None:
    for threads in (0, 2):
        train(configure("train.epochs=1", f"train.loader_threads={threads}"), str(tmp_path / str(threads)))
    assert same(weights(tmp_path / "0"), weights(tmp_path / "2"))


def test_training_learns_the_identities(configure: Configure, tmp_path: Path) -> None:
    reports: list[dict[str, Any]] = []
    ticks: list[tuple[int, int]] = []
    config = configure("train.epochs=8", "train.optim.lr=3e-3", "model.id_weight=1.0", *PLAIN)
    train(
        config,
        str(tmp_path / "run"),
        report=lambda r: reports.append(r.metrics),
        tick=lambda done, steps, loss: ticks.append((done, steps)),
    )
    assert reports[-1]["loss"] < 0.8 * reports[0]["loss"]
    assert reports[0]["loss"] == pytest.approx(reports[0]["loss/id"] + reports[0]["loss/triplet"])
    assert reports[-1]["step"] == 24
    assert ticks[:4] == [(1, 3), (2, 3), (3, 3), (1, 3)]


def test_bf16_trains(configure: Configure, tmp_path: Path) -> None:
    config = configure("train.epochs=1", "train.precision=bf16", *MEAN_WITH_TEXT)
    metrics = train(config, str(tmp_path / "run"))
    assert math.isfinite(metrics["loss"])
    assert {t.dtype for t in weights(tmp_path / "run").values()} == {torch.float32, torch.int64}


def test_zero_epochs_write_a_run_of_the_initial_weights(configure: Configure, tmp_path: Path) -> None:
    config = configure("train.epochs=0")
    assert train(config, str(tmp_path / "run")) == {"steps": 0}
    torch.manual_seed(config.seed)
    assert same(weights(tmp_path / "run"), dict(new_model(config).state_dict()))


def test_a_search_trial_writes_no_run(configure: Configure, tmp_path: Path) -> None:
    train(configure("train.epochs=1"), str(tmp_path / "run"), finish=False)
    assert not (tmp_path / "run").exists()


def test_checkpoints_are_due_every_so_many_epochs_and_at_the_end(
    configure: Configure, tmp_path: Path
) -> None:
    due: list[bool] = []
    config = configure("train.epochs=5", "train.checkpoint_every=2", "train.steps_per_epoch=1")
    train(config, str(tmp_path / "run"), report=lambda r: due.append(r.checkpoint_due))
    assert due == [False, True, False, True, True]


def test_a_loss_that_is_not_finite_says_where_and_what_to_do(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0
    honest = Model.forward

    def poisoned(self: Model, batch: Any) -> Any:
        nonlocal calls
        calls += 1
        output = honest(self, batch)
        if calls == 5:
            output.losses["triplet"] = output.losses["triplet"] * torch.nan
        return output

    monkeypatch.setattr(Model, "forward", poisoned)
    with pytest.raises(TrainingError) as caught:
        train(configure(), str(tmp_path / "run"))
    message = str(caught.value)
    assert "Loss is nan at epoch 1, step 1" in message
    assert "'triplet': nan" in message
    assert "train.optim.lr" in message
    assert not (tmp_path / "run").exists()


def test_too_few_identities_are_an_error_before_the_first_step(configure: Configure, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"train\.batch\.identities.*needs 9 identities, training has 8"):
        train(configure("train.batch.identities=9"), str(tmp_path / "run"))


def test_init_from_copies_fitting_tensors_only(configure: Configure, tmp_path: Path) -> None:
    train(configure("train.epochs=1"), str(tmp_path / "source"))
    source = weights(tmp_path / "source")
    model = new_model(configure(), classes=5)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    initialise_from(model, str(tmp_path / "source"))
    for name, tensor in model.state_dict().items():
        fits = source[name].shape == tensor.shape
        assert torch.equal(tensor, source[name] if fits else before[name]), name
    assert source["head.classifier.weight"].shape != before["head.classifier.weight"].shape


def test_a_run_begins_where_init_from_ended(configure: Configure, tmp_path: Path) -> None:
    train(configure("train.epochs=1"), str(tmp_path / "source"))
    config = configure("train.epochs=0", f"train.init_from={tmp_path / 'source'}", "seed=8")
    train(config, str(tmp_path / "second"))
    assert same(weights(tmp_path / "second"), weights(tmp_path / "source"))


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_init_from_takes_a_file_of_weights_too(suffix: str, configure: Configure, tmp_path: Path) -> None:
    source = new_model(configure(), classes=5)
    state = {f"module._orig_mod.{name}": tensor for name, tensor in source.state_dict().items()}
    file = tmp_path / f"mine{suffix}"
    save_file(state, file) if suffix == ".safetensors" else torch.save({"model": state}, file)
    model = new_model(configure("seed=9"), classes=5)
    initialise_from(model, str(file))
    assert same(model.state_dict(), source.state_dict())


def test_init_from_a_run_of_which_nothing_fits_is_an_error(configure: Configure, tmp_path: Path) -> None:
    train(configure("train.epochs=0"), str(tmp_path / "source"))
    other = configure("model.tower={arch: null, patch: 16, width: 48, heads: 3, layers: 1, dim: 24}")
    with pytest.raises(TrainingError, match=r"train\.init_from: nothing in .*source fits this model"):
        initialise_from(new_model(other, classes=5), str(tmp_path / "source"))


def test_the_run_folder_says_how_it_came_about(
    configure: Configure, tmp_path: Path, shards: ShardSet
) -> None:
    config = configure("train.epochs=2")
    train(config, str(tmp_path / "run"))
    info = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (info["status"], info["selection"], info["best_metric"]) == ("finished", "last epoch", None)
    assert (info["epochs"], info["steps"]) == (2, 6)
    assert info["data_fingerprint"] == shards.fingerprint
    assert info["parameters"]["total"] == sum(p.numel() for p in new_model(config).parameters())
    assert load_run(str(tmp_path / "run")).labels.cameras == (2, 5, 6)
