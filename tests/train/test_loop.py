"""Training end to end in this process: repeatable, resumable, and clear about what went wrong."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from reid.config import Config
from reid.data.schema import Sample
from reid.data.shards import ShardSet
from reid.errors import TrainingError
from reid.models.base import ReIDModel, build_model
from reid.models.baseline import Model
from reid.runs import RunFolder, load_run, model_context
from reid.train.identities import LabelMap
from reid.train.loop import EpochReport, initialise_from, train
from reid.train.optim import build_optimizer
from reid.train.state import STATE_FILE, Progress, load_state, save_state

Configure = Callable[..., Config]
PLAIN = ("train.augment={flip: 0, pad: 0, erase: 0}",)
MEAN_WITH_TEXT = ("data.modalities=rgb+nir+text", "model.fusion=mean", "train.batch.modality_dropout=0.3")


class Interrupted(Exception):
    """What a lost machine looks like from inside."""


def weights(uri: Path) -> dict[str, Tensor]:
    return RunFolder.open(str(uri)).weights()


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def new_model(config: Config, classes: int = 8) -> ReIDModel:
    labels = LabelMap(tuple(("tiny", i) for i in range(classes)), (2, 5, 6))
    return build_model(config.model, model_context(config, labels))


@pytest.mark.parametrize("extra", [(), ("train.val.fraction=0.25",), MEAN_WITH_TEXT])
def test_interrupted_and_resumed_training_ends_bit_identical(
    configure: Configure, tmp_path: Path, extra: tuple[str, ...]
) -> None:
    config = configure(*extra)
    whole = train(config, str(tmp_path / "whole"))

    def interrupt(report: EpochReport) -> None:
        if report.epoch == 2:
            raise Interrupted
        report.save(tmp_path / "state")

    with pytest.raises(Interrupted):
        train(config, str(tmp_path / "resumed"), report=interrupt)
    assert not (tmp_path / "resumed").exists()
    torch.manual_seed(99)  # another process would be in another place
    epochs: list[int] = []
    resumed = train(
        config,
        str(tmp_path / "resumed"),
        resume=tmp_path / "state",
        report=lambda report: epochs.append(report.epoch),
    )
    assert epochs == [2, 3]
    assert resumed["steps"] == whole["steps"] == 9
    assert resumed["loss"] == whole["loss"]
    assert same(weights(tmp_path / "resumed"), weights(tmp_path / "whole"))
    runs = [RunFolder.open(str(tmp_path / name)) for name in ("whole", "resumed")]
    assert runs[0].fingerprint == runs[1].fingerprint
    assert [row["epoch"] for row in runs[1].metrics()] == [1, 2, 3]


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


def test_validation_measures_held_out_identities_and_the_best_weights_are_kept(
    configure: Configure, tmp_path: Path
) -> None:
    seen: list[tuple[float, dict[str, Tensor]]] = []

    def keep(report: EpochReport) -> None:
        report.save(tmp_path / "state")
        state = torch.load(tmp_path / "state" / STATE_FILE, weights_only=True)
        seen.append((report.metrics["val/mAP"], state["model"]))

    config = configure("train.val.fraction=0.25", "train.epochs=4", "train.optim.lr=1e-2")
    train(config, str(tmp_path / "run"), report=keep)
    run = RunFolder.open(str(tmp_path / "run"))
    assert len(run.labels().classes) == 6
    best = max(value for value, _ in seen)
    first_best = next(state for value, state in seen if value == best)
    assert run.info["selection"] == "best val/mAP"
    assert run.info["best_metric"] == best
    assert same(run.weights(), first_best)
    assert 0 <= best <= 1


def test_validation_runs_every_so_many_epochs_and_at_the_end(configure: Configure, tmp_path: Path) -> None:
    measured: list[bool] = []
    config = configure(
        "train.val={fraction: 0.25, every_epochs: 2}", "train.epochs=3", "train.steps_per_epoch=1"
    )
    train(config, str(tmp_path / "run"), report=lambda r: measured.append("val/mAP" in r.metrics))
    assert measured == [False, True, True]


def test_any_to_any_models_are_validated_from_each_modality_to_rgb(
    configure: Configure, tmp_path: Path
) -> None:
    config = configure("train.val.fraction=0.25", "train.epochs=1", *MEAN_WITH_TEXT)
    metrics = train(config, str(tmp_path / "run"))
    names = {"rgb", "nir->rgb", "text->rgb", "nir+text->rgb"}
    assert {k.removeprefix("val/mAP/") for k in metrics if k.startswith("val/mAP/")} == names
    mean = sum(metrics[f"val/mAP/{name}"] for name in names) / 4
    assert metrics["val/mAP"] == pytest.approx(mean)


def test_validation_without_a_single_match_is_an_error_and_not_a_nan(
    configure: Configure,
    tmp_path: Path,
    write_shards: Callable[..., ShardSet],
    sample: Callable[..., Sample],
) -> None:
    alone = write_shards(tmp_path / "shards", [sample(pid, 0) for pid in range(8) for _ in (0,)])
    config = configure("train.val.fraction=0.25", f"data.shards={alone.root}", "train.epochs=1")
    with pytest.raises(TrainingError, match=r"train\.val\.fraction: no validation query has a match"):
        train(config, str(tmp_path / "run"))


def test_the_state_loads_without_unpickling_code_and_comes_back_whole(
    configure: Configure, tmp_path: Path
) -> None:
    config = configure("train.val.fraction=0.25", "train.epochs=1")
    train(config, str(tmp_path / "run"), report=lambda r: r.save(tmp_path / "state"))
    tree = torch.load(tmp_path / "state" / STATE_FILE, weights_only=True)
    model = new_model(config, classes=6)
    optimizer = build_optimizer(model, config.train.optim)
    progress = load_state(tmp_path / "state", model, optimizer)
    assert (progress.epoch, progress.step, len(progress.history)) == (1, 3, 1)
    assert progress.best_weights is not None
    assert same(dict(model.state_dict()), tree["model"])
    assert all("peak_lr" in group for group in optimizer.param_groups)
    torch.manual_seed(99)
    expected = torch.rand(4)
    torch.manual_seed(99)
    save_state(tmp_path / "again", model, optimizer, Progress(epoch=5))
    torch.manual_seed(0)
    assert load_state(tmp_path / "again", model, optimizer).epoch == 5
    assert torch.equal(torch.rand(4), expected)


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


def test_init_from_a_run_of_which_nothing_fits_is_an_error(configure: Configure, tmp_path: Path) -> None:
    train(configure("train.epochs=0"), str(tmp_path / "source"))
    other = configure("model.tower={arch: null, patch: 16, width: 48, heads: 3, layers: 1, dim: 24}")
    with pytest.raises(TrainingError, match=r"train\.init_from: nothing in .*source fits this model"):
        initialise_from(new_model(other, classes=5), str(tmp_path / "source"))


def test_resuming_needs_no_pretrained_weights(configure: Configure, tmp_path: Path) -> None:
    """The checkpoint holds them all; the file they came from may be gone."""
    train(configure("train.epochs=1"), str(tmp_path / "run"), report=lambda r: r.save(tmp_path / "state"))
    gone = configure("train.epochs=2", f"model.weights={tmp_path / 'gone.safetensors'}")
    assert train(gone, str(tmp_path / "more"), resume=tmp_path / "state")["steps"] == 6


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
