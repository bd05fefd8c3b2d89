"""A recorded step is replayed from its folder alone, and leads to the first module that is not finite."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.train import train as verb
from reid.config import Config
from reid.errors import TrainingError, UsageError
from reid.train.loop import train
from reid.train.replay import Replay, replay
from tests.support.models.poison import Spoil, ids_at, nan, nan_gradient, poison

Configure = Callable[..., Config]


def replayed(
    configure: Configure, folder: Path, patch: pytest.MonkeyPatch, spoil: Spoil = nan, *overrides: str
) -> Replay:
    """What the replay finds of a training whose batch at epoch 1, step 1 is spoilt."""
    config = configure(*overrides)
    poison(patch, ids_at(config, 1, 1), spoil)
    with pytest.raises(TrainingError):
        train(config, str(folder))
    return replay(str(folder / "nonfinite" / "epoch-0001-step-000001"))


def test_the_injected_nan_is_found(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = replayed(configure, tmp_path, monkeypatch)
    assert (found.epoch, found.step, found.same_batch, found.weights) == (1, 1, True, ())
    assert found.module is not None and found.module.startswith("head")
    assert found.losses.keys() == found.recorded.keys()
    assert all(math.isnan(found.losses[k]) == math.isnan(v) for k, v in found.recorded.items())
    assert found.gradients
    assert "first output that is not finite: of head" in "\n".join(found.lines())


def test_a_gradient_alone_is_found_and_the_losses_are_those_of_then(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = replayed(configure, tmp_path, monkeypatch, nan_gradient)
    assert found.module is None
    assert found.gradients
    assert found.losses == found.recorded


def test_the_step_is_compared_with_the_classes_that_it_drew(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampled = "train.classifier={sampling: 0.5}"
    found = replayed(configure, tmp_path, monkeypatch, nan_gradient, sampled)
    assert found.losses == found.recorded


def test_weights_that_blew_up_are_found(configure: Configure, tmp_path: Path) -> None:
    config = configure("train.optim={lr: 1e30, warmup_epochs: 0}")
    with pytest.raises(TrainingError):
        train(config, str(tmp_path))
    (folder,) = (tmp_path / "nonfinite").iterdir()
    found = replay(str(folder))
    assert found.same_batch and found.module is not None
    assert any(not math.isfinite(value) for value in found.losses.values())


def test_the_verb_prints_it_and_trains_nothing(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    replayed(configure, tmp_path, monkeypatch)
    verb(repro=str(tmp_path / "nonfinite" / "epoch-0001-step-000001"))
    said = capsys.readouterr().out
    assert said.startswith("epoch 1, step 1\n  loss id: nan (recorded: nan)\n")
    assert "first output that is not finite: of head" in said
    assert not (tmp_path / "run.json").exists()


def test_a_folder_without_a_record_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no repro\.json in it; name a folder below <run>/nonfinite"):
        replay(str(tmp_path))
