"""A training on two ranks that share the rows of the classifier: checkpoints, resuming, the finished run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from reid.config import Config
from reid.errors import WeightsError
from reid.models.base import ReIDModel
from reid.nn.classifier.placement import WHOLE, ClassifierPlacement, classifiers_placed
from reid.runs.run import load_run
from reid.train.classifiers.state import FILES
from reid.train.optimizer import build_optimizer
from reid.train.setup import initialise_from
from reid.train.state import load_state
from tests.support.models import split_ranks as ranks
from tests.support.models.rank_comparison import new_model, same, weights

pytestmark = pytest.mark.slow
HEAD = "head.classifier.weight"
Configure = Callable[..., Config]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ranks")


@pytest.fixture(scope="module")
def found(folder: Path, configure: Configure) -> list[dict[str, Any]]:
    config = configure("train.epochs=3", "train.optim.clip_norm=1.0")
    (folder / "config.yaml").write_text(json.dumps(config.model_dump(mode="json")))
    return ranks.run_ranks(ranks.trainings, folder)


def restored(
    state: Path, configure: Configure, placement: ClassifierPlacement = WHOLE
) -> tuple[ReIDModel, torch.optim.Optimizer]:
    """A model and an optimiser with what a state holds."""
    with classifiers_placed(placement):
        model = new_model(configure())
    optimizer = build_optimizer(model, configure().train.optim)
    load_state(state, model, optimizer)
    return model, optimizer


def test_split_classifiers_learn_what_plain_ones_learn(found: list[dict[str, Any]]) -> None:
    for rank in found:
        assert rank["split"]["steps"] == rank["plain"]["steps"]
        for key in ("loss", "grad_norm"):
            assert rank["split"][key] == pytest.approx(rank["plain"][key], rel=1e-3)


def test_resumed_on_as_many_ranks_it_ends_bit_identical(found: list[dict[str, Any]], folder: Path) -> None:
    assert found[0]["resumed"] == found[0]["split"]
    assert same(weights(folder / "runs/resumed"), weights(folder / "runs/split"))
    last = [folder / "states" / name / "epoch-0003-step-000000" for name in ("split", "resumed")]
    for file in last[0].glob(FILES):
        assert file.read_bytes() == (last[1] / file.name).read_bytes()


@pytest.mark.usefixtures("found")
def test_any_number_of_ranks_reads_the_state_and_each_takes_its_rows(
    folder: Path, configure: Configure
) -> None:
    state = folder / "states/split/epoch-0002-step-000000"
    assert len(list(state.glob(FILES))) == 2
    model, optimizer = restored(state, configure)
    whole = model.get_parameter(HEAD)
    moments = optimizer.state[whole]["exp_avg"]
    assert whole.shape == moments.shape == (8, 32)
    for rank in range(3):
        model, optimizer = restored(state, configure, ClassifierPlacement(rank, 3))
        own = model.get_parameter(HEAD)
        rows = ClassifierPlacement(rank, 3).rows(8)
        assert torch.equal(own, whole[rows.first : rows.stop])
        assert torch.equal(optimizer.state[own]["exp_avg"], moments[rows.first : rows.stop])


@pytest.mark.usefixtures("found")
def test_a_state_of_plain_classifiers_is_split_where_it_is_read(folder: Path, configure: Configure) -> None:
    state = folder / "states/plain/epoch-0002-step-000000"
    whole, _ = restored(state, configure)
    model, optimizer = restored(state, configure, ClassifierPlacement(1, 2))
    own = model.get_parameter(HEAD)
    assert torch.equal(own, whole.get_parameter(HEAD)[4:])
    assert optimizer.state[own]["exp_avg"].shape == (4, 32)


@pytest.mark.usefixtures("found")
def test_a_missing_rank_is_told_with_the_rows(folder: Path, configure: Configure, tmp_path: Path) -> None:
    state = folder / "states/split/epoch-0002-step-000000"
    for file in state.iterdir():
        if "rank-00001" not in file.name:
            (tmp_path / file.name).write_bytes(file.read_bytes())
    with pytest.raises(WeightsError, match=r"rows 4 to 8 of head\.classifier\.weight are in none"):
        restored(tmp_path, configure)


@pytest.mark.usefixtures("found")
def test_a_finished_run_embeds_and_starts_others_without_them(folder: Path, configure: Configure) -> None:
    run, plain = (load_run(str(folder / "runs" / name)) for name in ("split", "plain"))
    assert HEAD not in weights(folder / "runs/split")
    assert run.folder.info["classifiers"] == "left out"
    assert run.folder.info["parameters"] == plain.folder.info["parameters"]
    assert run.embed(torch.zeros(32, 16, 3, dtype=torch.uint8).numpy()).shape == (run.dim,)
    model = new_model(configure())
    before = model.get_parameter(HEAD).detach().clone()
    initialise_from(model, str(folder / "runs/split"))
    assert torch.equal(model.get_parameter(HEAD), before)
    assert torch.equal(model.get_parameter("head.norm.weight"), run.model.get_parameter("head.norm.weight"))


@pytest.mark.usefixtures("found")
def test_a_split_training_starts_from_its_rows_of_a_whole_run(folder: Path, configure: Configure) -> None:
    with classifiers_placed(ClassifierPlacement(1, 2)):
        model = new_model(configure())
    initialise_from(model, str(folder / "runs/plain"))
    assert torch.equal(model.get_parameter(HEAD), weights(folder / "runs/plain")[HEAD][4:])
