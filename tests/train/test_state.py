"""Resuming goes on exactly where a run was cut off, on every rank, dropout and all."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from reid.config import Config, Plugin
from reid.data.batches.stream import StreamPlace
from reid.errors import WeightsError
from reid.models.base import ModelContext, ReIDModel
from reid.models.registry import build_model
from reid.runs.folder import RunFolder
from reid.storage.run_files import RUN_FILE
from reid.train.loop import train
from reid.train.optimizer import build_optimizer
from reid.train.reports import CheckpointPlace
from reid.train.state import (
    BEST_FILE,
    OPTIMIZER_FILE,
    PROGRESS_FILE,
    WEIGHTS_FILE,
    StateSaver,
    TrainingProgress,
    load_state,
    save_state,
    step_seed,
)
from tests.support.models.observers import Recorder
from tests.support.models.rank_comparison import MEAN_WITH_TEXT, new_model, same, weights

Configure = Callable[..., Config]


class Interrupted(Exception):
    """What a lost machine looks like from inside."""


@pytest.fixture
def dropout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models drop a part of the feature before the head's norm: they draw from torch's own generator."""

    def drop(module: nn.Module, features: tuple[Tensor]) -> tuple[Tensor]:
        return (F.dropout(features[0], 0.3, module.training),)

    def build(section: Plugin, context: ModelContext) -> ReIDModel:
        model = build_model(section, context)
        model.get_submodule("head.norm").register_forward_pre_hook(drop)
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

    def interrupt(at: CheckpointPlace) -> None:
        if at.epoch == 2:
            raise Interrupted

    with pytest.raises(Interrupted):
        train(
            config, str(tmp_path / "resumed"), observer=Recorder(tmp_path / "state", on_checkpoint=interrupt)
        )
    assert not (tmp_path / "resumed" / RUN_FILE).exists()
    torch.manual_seed(99)  # another process would be in another place
    seen = Recorder()
    resumed = train(config, str(tmp_path / "resumed"), resume=tmp_path / "state", observer=seen)
    assert [report.epoch for report in seen.epochs] == [2, 3]
    assert resumed["steps"] == whole["steps"] == 9
    assert resumed["loss"] == whole["loss"]
    assert same(weights(tmp_path / "resumed"), weights(tmp_path / "whole"))
    runs = [RunFolder.open(str(tmp_path / name)) for name in ("whole", "resumed")]
    assert runs[0].fingerprint == runs[1].fingerprint
    assert [row["epoch"] for row in runs[1].metrics()] == [1, 2, 3]


MOE = {
    "model": {
        "name": "mfrnet",
        "tower": {"arch": None, "patch": 8, "width": 32, "layers": 2, "heads": 2, "dim": 16},
        "frm": {"hidden": 12, "router": {"score": "cosine", "noise": 1.0, "dim": 8}},
    }
}
"""A mixture of experts with routing noise and dropout."""


@pytest.mark.parametrize(
    ("extra", "sections", "drops", "places"),
    [
        ((), {}, True, (2, 4)),
        pytest.param((), {}, True, range(1, 9), marks=pytest.mark.slow),
        pytest.param(("train.val.fraction=0.25", *MEAN_WITH_TEXT), {}, False, (1, 5), marks=pytest.mark.slow),
        pytest.param((), MOE, False, (1, 4, 5, 8), marks=pytest.mark.slow),
    ],
    ids=["dropout", "dropout, every step", "validation", "experts"],
)
def test_a_training_resumed_after_any_step_ends_bit_identical(
    configure: Configure,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    extra: tuple[str, ...],
    sections: dict[str, Any],
    drops: bool,
    places: Iterable[int],
) -> None:
    if drops:
        request.getfixturevalue("dropout")
    config = configure("train.checkpoint.every_steps=1", *extra, **sections)
    seen = Recorder(tmp_path / "states", each=True)
    whole = train(config, str(tmp_path / "whole"), observer=seen)
    assert [(p.epoch, p.step, p.total) for p in seen.places] == [
        *[(0, 1, 1), (0, 2, 2), (1, 0, 3), (1, 1, 4), (1, 2, 5)],
        *[(2, 0, 6), (2, 1, 7), (2, 2, 8), (3, 0, 9)],
    ]
    for place in (p for p in seen.places if p.total in places):
        torch.manual_seed(99)  # another process would be in another place
        again = Recorder()
        run = tmp_path / place.name
        resumed = train(config, str(run), tmp_path / "states" / place.name, observer=again)
        assert timeless(resumed) == timeless(whole)
        assert same(weights(run), weights(tmp_path / "whole"))
        assert list(map(timeless, again.metrics)) == list(map(timeless, seen.metrics[place.epoch :]))


def timeless(metrics: dict[str, Any]) -> dict[str, Any]:
    """Metrics without those that are times."""
    return {k: v for k, v in metrics.items() if k not in ("seconds", "rows_per_s")}


def trained_as(rank: int, config: Config, folder: Path, patch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    """The weights that this rank ends with, on rank 0's batches and without the others."""
    patch.setattr("reid.train.epoch.rank", lambda: rank)
    patch.setattr("reid.train.setup.StreamPlace", lambda seed, rank, world: StreamPlace(seed))
    train(config, "", observer=Recorder(folder), finish=False)
    # The next call writes over this file, which the tensors that are read still map.
    return {name: x.clone() for name, x in load_file(folder / WEIGHTS_FILE).items()}


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


def test_every_rank_and_step_has_its_own_seed() -> None:
    places = [
        (seed, rank, epoch, step)
        for seed in (0, 1, 1234)
        for rank in range(3)
        for epoch in range(3)
        for step in range(4)
    ]
    seeds = [step_seed(*place) for place in places]
    assert len(set(seeds)) == len(places)
    assert seeds == [step_seed(*place) for place in places]
    draws = set()
    for seed in seeds:
        torch.manual_seed(seed)
        draws.add(tuple(torch.rand(3).tolist()))
    assert len(draws) == len(places)


def test_the_state_loads_without_unpickling_code_and_comes_back_whole(
    configure: Configure, tmp_path: Path
) -> None:
    config = configure("train.val.fraction=0.25", "train.epochs=1")
    train(config, str(tmp_path / "run"), observer=Recorder(tmp_path / "state"))
    model = new_model(config, classes=6)
    optimizer = build_optimizer(model, config.train.optim)
    progress = load_state(tmp_path / "state", model, optimizer)
    assert (progress.epoch, progress.step, progress.last["epoch"]) == (1, 3, 1)
    assert progress.best_weights is not None
    assert same(dict(model.state_dict()), load_file(tmp_path / "state" / WEIGHTS_FILE))
    assert same(progress.best_weights, dict(model.state_dict()))
    assert all("peak_lr" in group for group in optimizer.param_groups)
    save_state(tmp_path / "again", model, optimizer, TrainingProgress(epoch=5))
    assert load_state(tmp_path / "again", model, optimizer).epoch == 5


def test_a_state_belongs_to_no_rank_and_moves_no_generator(configure: Configure, tmp_path: Path) -> None:
    config = configure()
    model = new_model(config)
    optimizer = build_optimizer(model, config.train.optim)
    save_state(tmp_path, model, optimizer, TrainingProgress())
    assert {path.name for path in tmp_path.iterdir()} == {WEIGHTS_FILE, OPTIMIZER_FILE, PROGRESS_FILE}
    torch.manual_seed(99)
    expected = torch.rand(4)
    torch.manual_seed(99)
    load_state(tmp_path, model, optimizer)
    assert torch.equal(torch.rand(4), expected)


def test_resuming_needs_no_pretrained_weights(configure: Configure, tmp_path: Path) -> None:
    """The checkpoint holds them all; the file they came from may be gone."""
    train(configure("train.epochs=1"), str(tmp_path / "run"), observer=Recorder(tmp_path / "state"))
    gone = configure("train.epochs=2", f"model.weights={tmp_path / 'gone.safetensors'}")
    assert train(gone, str(tmp_path / "more"), resume=tmp_path / "state")["steps"] == 6


def test_a_copy_of_the_state_does_not_see_the_steps_after_it(configure: Configure, tmp_path: Path) -> None:
    config = configure()
    model = new_model(config)
    progress = TrainingProgress(epoch=1)
    write = StateSaver(model, build_optimizer(model, config.train.optim), progress).copied()
    before = {name: x.clone() for name, x in model.state_dict().items()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    progress.epoch = 7
    write(tmp_path)
    assert same(load_file(tmp_path / WEIGHTS_FILE), before)
    assert json.loads((tmp_path / PROGRESS_FILE).read_text())["epoch"] == 1
    assert not (tmp_path / BEST_FILE).exists()


def test_a_state_of_other_shapes_is_refused_by_the_name_of_the_tensor(
    configure: Configure, tmp_path: Path
) -> None:
    config = configure()
    model = new_model(config)
    save_state(tmp_path, model, build_optimizer(model, config.train.optim), TrainingProgress())
    other = new_model(
        configure("model.tower={arch: null, patch: 8, width: 16, layers: 1, heads: 2, dim: 16}")
    )
    with pytest.raises(
        WeightsError, match=r"a state of another model.*: \S+ is \[.*32.*\] there, \[.*16.*\] here"
    ):
        load_state(tmp_path, other, build_optimizer(other, config.train.optim))
