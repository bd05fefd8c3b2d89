"""Resuming goes on exactly where a run was cut off, on every rank, dropout and all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reid.config import Config, Plugin
from reid.data.batches.stream import StreamPlace
from reid.models.base import ModelContext, ReIDModel
from reid.models.registry import build_model
from reid.runs.folder import RunFolder
from reid.train.loop import EpochReport, train
from reid.train.optimizer import build_optimizer
from reid.train.state import STATE_FILE, TrainingProgress, epoch_seed, load_state, save_state
from tests.support.models.rank_comparison import MEAN_WITH_TEXT, new_model, same, weights

Configure = Callable[..., Config]


class Interrupted(Exception):
    """What a lost machine looks like from inside."""


@pytest.fixture
def dropout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models drop a part of the feature before the classifier: they draw from torch's own generator."""

    def drop(module: nn.Module, features: tuple[Tensor]) -> tuple[Tensor]:
        return (F.dropout(features[0], 0.3, module.training),)

    def build(section: Plugin, context: ModelContext) -> ReIDModel:
        model = build_model(section, context)
        model.get_submodule("head").register_forward_pre_hook(drop)
        return model

    monkeypatch.setattr("reid.train.loop.build_model", build)


@pytest.mark.parametrize(
    ("extra", "drops"),
    [((), False), (("train.val.fraction=0.25",), False), (MEAN_WITH_TEXT, False), ((), True)],
)
def test_interrupted_and_resumed_training_ends_bit_identical(
    configure: Configure,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    extra: tuple[str, ...],
    drops: bool,
) -> None:
    if drops:
        request.getfixturevalue("dropout")
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


def trained_as(rank: int, config: Config, folder: Path, patch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    """The weights that this rank ends with, on rank 0's batches and without the others."""
    patch.setattr("reid.train.loop.rank", lambda: rank)
    patch.setattr("reid.train.loop.StreamPlace", lambda seed, rank, world: StreamPlace(seed))
    train(config, "", report=lambda report: report.save(folder), finish=False)
    state: dict[str, Tensor] = torch.load(folder / STATE_FILE, weights_only=True)["model"]
    return state


def test_without_dropout_ranks_differ_in_their_batches_alone(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So initial weights are equal."""
    first, second = (trained_as(r, configure("train.epochs=1"), tmp_path, monkeypatch) for r in (0, 1))
    assert same(first, second)


@pytest.mark.usefixtures("dropout")
def test_dropout_differs_between_ranks(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, again = (
        trained_as(r, configure("train.epochs=1"), tmp_path, monkeypatch) for r in (0, 1, 1)
    )
    assert not same(first, second)
    assert same(second, again)


def test_every_rank_and_epoch_has_its_own_seed() -> None:
    places = [(seed, rank, epoch) for seed in (0, 1, 1234) for rank in range(4) for epoch in range(5)]
    seeds = [epoch_seed(*place) for place in places]
    assert len(set(seeds)) == len(places)
    assert seeds == [epoch_seed(*place) for place in places]
    draws = set()
    for seed in seeds:
        torch.manual_seed(seed)
        draws.add(tuple(torch.rand(3).tolist()))
    assert len(draws) == len(places)


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
    save_state(tmp_path / "again", model, optimizer, TrainingProgress(epoch=5))
    assert load_state(tmp_path / "again", model, optimizer).epoch == 5


def test_a_state_belongs_to_no_rank_and_moves_no_generator(configure: Configure, tmp_path: Path) -> None:
    config = configure()
    model = new_model(config)
    optimizer = build_optimizer(model, config.train.optim)
    save_state(tmp_path, model, optimizer, TrainingProgress())
    assert set(torch.load(tmp_path / STATE_FILE, weights_only=True)) == {"model", "optimizer", "progress"}
    torch.manual_seed(99)
    expected = torch.rand(4)
    torch.manual_seed(99)
    load_state(tmp_path, model, optimizer)
    assert torch.equal(torch.rand(4), expected)


def test_resuming_needs_no_pretrained_weights(configure: Configure, tmp_path: Path) -> None:
    """The checkpoint holds them all; the file they came from may be gone."""
    train(configure("train.epochs=1"), str(tmp_path / "run"), report=lambda r: r.save(tmp_path / "state"))
    gone = configure("train.epochs=2", f"model.weights={tmp_path / 'gone.safetensors'}")
    assert train(gone, str(tmp_path / "more"), resume=tmp_path / "state")["steps"] == 6
