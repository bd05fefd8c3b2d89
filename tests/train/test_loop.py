"""Training end to end in this process: repeatable, and clear about what went wrong."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from reid.config import Config
from reid.data.shards.shard_set import ShardSet
from reid.errors import TrainingError
from reid.runs.run import load_run
from reid.train.loop import train
from reid.train.setup import initialise_from
from tests.support.models.observers import Recorder
from tests.support.models.rank_comparison import MEAN_WITH_TEXT, PLAIN, new_model, same, weights

Configure = Callable[..., Config]


def test_training_is_a_function_of_its_seed(configure: Configure, tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        train(configure("train.epochs=1", f"seed={seed}"), str(tmp_path / name))
    assert same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert not same(weights(tmp_path / "a"), weights(tmp_path / "c"))


@pytest.mark.parametrize("loader", ["{kind: threads, count: 2}", "{kind: processes, count: 2}"])
def test_how_batches_are_loaded_changes_nothing(configure: Configure, tmp_path: Path, loader: str) -> None:
    for name, kind in (("a", "{kind: none}"), ("b", loader)):
        train(configure("train.epochs=1", f"train.loader={kind}"), str(tmp_path / name))
    assert same(weights(tmp_path / "a"), weights(tmp_path / "b"))


def test_training_learns_the_identities(configure: Configure, tmp_path: Path) -> None:
    seen = Recorder()
    config = configure(
        "train.epochs=8", "train.log_every=2", "train.optim.lr=3e-3", "model.id_weight=1.0", *PLAIN
    )
    train(config, str(tmp_path / "run"), observer=seen)
    first, *_, last = seen.metrics
    assert last["loss"] < 0.8 * first["loss"]
    assert first["loss"] == pytest.approx(first["loss/id"] + first["loss/triplet"])
    assert last["step"] == 24


def test_steps_are_reported_every_so_many_and_at_the_end_of_an_epoch(
    configure: Configure, tmp_path: Path
) -> None:
    seen = Recorder()
    config = configure("train.epochs=2", "train.log_every=2", "train.optim.groups=[{match: head, lr: 0.1}]")
    train(config, str(tmp_path / "run"), observer=seen)
    places = [(r.epoch, r.step, r.steps, r.total) for r in seen.steps]
    assert places == [(0, 2, 3, 2), (0, 3, 3, 3), (1, 2, 3, 5), (1, 3, 3, 6)]
    numbers = seen.steps[0].metrics
    assert {"loss", "loss/id", "lr", "lr/1", "grad_norm", "rows_per_s", "step_seconds"} <= numbers.keys()
    assert numbers["grad_norm"] > 0 and 0 <= numbers["data_wait"] <= 1
    mean = (2 * numbers["loss"] + seen.steps[1].metrics["loss"]) / 3
    assert seen.metrics[0]["loss"] == pytest.approx(mean)


def test_bf16_trains(configure: Configure, tmp_path: Path) -> None:
    config = configure("train.epochs=1", "train.compute.precision=bf16", *MEAN_WITH_TEXT)
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
    seen = Recorder()
    config = configure("train.epochs=5", "train.checkpoint.every_epochs=2", "train.steps_per_epoch=1")
    train(config, str(tmp_path / "run"), observer=seen)
    assert [(p.epoch, p.step, p.total, p.last) for p in seen.places] == [
        (2, 0, 2, False),
        (4, 0, 4, False),
        (5, 0, 5, True),
    ]
    assert [p.metrics["loss"] for p in seen.places] == [seen.metrics[i]["loss"] for i in (1, 3, 4)]


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
