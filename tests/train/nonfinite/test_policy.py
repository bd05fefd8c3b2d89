"""A step that is not finite changes nothing, is recorded, and is followed by what the policy says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reid.config import Config
from reid.errors import TrainingError
from reid.train.loop import train
from reid.train.nonfinite.guard import StepGuard
from reid.train.optimizer import build_optimizer
from reid.train.state import TrainingProgress, load_state, save_state
from tests.support.models.observers import Recorder
from tests.support.models.poison import ids_at, nan_gradient, poison
from tests.support.models.rank_comparison import new_model, same, weights

Configure = Callable[..., Config]
PLACE = "epoch-0001-step-000001"


def edited(config: Config, state: Path, edit: Callable[[TrainingProgress], Any], folder: Path) -> Path:
    """A copy of a state with another progress."""
    model = new_model(config)
    optimizer = build_optimizer(model, config.train.optim)
    progress = load_state(state, model, optimizer)
    edit(progress)
    save_state(folder, model, optimizer, progress)
    return folder


def test_stop_says_where_and_what_to_do_and_writes_no_run(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configure()
    poison(monkeypatch, ids := ids_at(config, 1, 1))
    with pytest.raises(TrainingError) as caught:
        train(config, str(tmp_path / "run"))
    message = str(caught.value)
    assert "Loss is nan at epoch 1, step 1" in message
    assert "'id': nan" in message
    assert "train.optim.lr" in message
    assert f"anyreid train --repro {tmp_path}/run/nonfinite/{PLACE}" in message
    assert not (tmp_path / "run" / "run.json").exists()
    record = json.loads((tmp_path / "run" / "nonfinite" / PLACE / "repro.json").read_text())
    assert record["ranks"][0]["samples"]["rgb"] == [row[0] for row in ids]


def test_a_gradient_that_is_not_finite_is_caught_although_the_loss_is(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configure()
    poison(monkeypatch, ids_at(config, 1, 1), nan_gradient)
    with pytest.raises(TrainingError, match="Gradient norm is nan at epoch 1, step 1"):
        train(config, str(tmp_path / "run"))


@pytest.mark.parametrize("late", [False, True])
def test_skip_goes_on_as_if_the_batch_had_not_been_there(
    late: bool, configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the step is noticed only with the next report, as on a GPU."""
    config = configure("train.nonfinite.policy=skip", "train.checkpoint.every_steps=1")
    train(config, "", observer=Recorder(tmp_path / "states", each=True), finish=False)

    def leave_out(progress: TrainingProgress) -> None:
        progress.done, progress.step = progress.done + 1, progress.step + 1

    start = edited(config, tmp_path / "states" / PLACE, leave_out, tmp_path / "start")
    train(config, str(tmp_path / "expected"), resume=start)
    if late:
        config = configure("train.nonfinite.policy=skip")
        monkeypatch.setattr(StepGuard, "noticed", lambda self: False)
    poison(monkeypatch, ids_at(config, 1, 1))
    seen = Recorder()
    train(config, str(tmp_path / "run"), observer=seen)
    assert len(seen.notices) == 1
    assert "Loss is nan at epoch 1, step 1" in seen.notices[0] and "1 of at most 10" in seen.notices[0]
    assert [m.get("nonfinite") for m in seen.metrics] == [None, 1, None]
    assert [m["step"] for m in seen.metrics] == [3, 6, 9]
    assert same(weights(tmp_path / "run"), weights(tmp_path / "expected"))


def test_rewind_goes_back_to_the_last_checkpoint_with_a_lower_rate(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configure("train.nonfinite={policy: rewind, rewind_factor: 0.25}")
    states = Recorder(tmp_path / "states", each=True)
    train(config, str(tmp_path / "plain"), observer=states)

    def lower(progress: TrainingProgress) -> None:
        progress.lr_factor = 0.25

    start = edited(config, tmp_path / "states" / "epoch-0001-step-000000", lower, tmp_path / "start")
    train(config, str(tmp_path / "expected"), resume=start)
    poison(monkeypatch, ids_at(config, 1, 1), times=1)
    seen = Recorder()
    train(config, str(tmp_path / "run"), observer=seen)
    assert "Going back to epoch 1, step 0, with 0.25 times the learning rate" in seen.notices[0]
    assert [m["step"] for m in seen.metrics] == [3, 6, 9]
    assert seen.metrics[-1]["lr"] == pytest.approx(0.25 * states.metrics[-1]["lr"])
    assert same(weights(tmp_path / "run"), weights(tmp_path / "expected"))
    assert not same(weights(tmp_path / "run"), weights(tmp_path / "plain"))


@pytest.mark.parametrize("policy", ["skip", "rewind"])
def test_more_of_them_than_allowed_end_the_training(
    policy: str, configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configure(f"train.nonfinite={{policy: {policy}, at_most: 1}}", "train.optim.lr=1e30")
    with pytest.raises(TrainingError, match=r"More than train\.nonfinite\.at_most=1 of them"):
        train(config, str(tmp_path / "run"))
