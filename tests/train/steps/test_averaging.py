"""The moving average of the weights: what it is, and that a resumed run has the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from reid.train.loop import train
from reid.train.reports import CheckpointPlace, Save, TrainingObserver
from reid.train.state import OPTIMIZER_FILE
from reid.train.steps.averaging import WeightAverage
from tests.support.models.rank_comparison import same, weights
from tests.support.models.tiny_training import Configure


def test_the_average_is_the_recurrence() -> None:
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    average = WeightAverage(optimizer, 0.9)
    expected, now = torch.zeros(0), torch.zeros(0)
    for _ in range(4):
        model(torch.ones(1, 3)).sum().backward()
        optimizer.step()
        now = model.weight.detach().clone()
        expected = now if not len(expected) else 0.9 * expected + 0.1 * now
    with average.in_place():
        assert torch.allclose(model.weight, expected, rtol=1e-6)
    assert torch.equal(model.weight, now)
    average.apply()
    assert torch.allclose(model.weight, expected, rtol=1e-6)


def test_a_step_that_the_device_leaves_out_changes_no_average() -> None:
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    average = WeightAverage(optimizer, 0.9)
    for left_out in (0.0, 0.0, 1.0):
        model(torch.ones(1, 3)).sum().backward()
        before = [a.clone() for _, a in average._averages()]
        if left_out:
            optimizer.found_inf = torch.tensor(left_out)  # type: ignore[attr-defined]
            average._update(optimizer)
        else:
            optimizer.step()
    assert all(torch.equal(a, b) for a, (_, b) in zip(before, average._averages(), strict=True))


def test_the_average_is_what_is_validated_and_kept(configure: Configure, tmp_path: Path) -> None:
    found = {}
    for name, changes in {"last": [], "averaged": ["train.ema.decay=0.9"]}.items():
        train(configure("train.epochs=2", *changes), str(tmp_path / name))
        found[name] = weights(tmp_path / name)
    assert not same(found["last"], found["averaged"])
    gap = [(found["last"][n] - found["averaged"][n]).abs().max() for n in found["last"]]
    assert max(gap) < 0.1, "both come from the same steps"


class Keeps(TrainingObserver):
    """Keeps the checkpoint of an epoch."""

    def __init__(self, folder: Path, epoch: int = 1) -> None:
        self.folder, self.of = folder, epoch

    def checkpoint(self, at: CheckpointPlace, save: Save) -> None:
        if at.epoch == self.of:
            save(self.folder)


@pytest.mark.parametrize("changes", [[], ["train.val.fraction=0.5"]])
def test_a_resumed_run_ends_with_the_same_average(
    configure: Configure, tmp_path: Path, changes: list[str]
) -> None:
    config = configure("train.epochs=3", "train.ema.decay=0.8", *changes)
    train(config, str(tmp_path / "whole"), observer=Keeps(tmp_path / "state"))
    train(config, str(tmp_path / "resumed"), resume=tmp_path / "state")
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "resumed"))


def test_a_run_without_averages_keeps_none_of_the_run_that_it_continues(
    configure: Configure, tmp_path: Path
) -> None:
    averaged, later = configure("train.epochs=1", "train.ema.decay=0.8"), configure("train.epochs=2")
    train(averaged, "", observer=Keeps(tmp_path / "state"), finish=False)
    assert averages(tmp_path / "state")
    train(later, "", tmp_path / "state", observer=Keeps(tmp_path / "later", epoch=2), finish=False)
    assert not averages(tmp_path / "later")


def averages(state: Path) -> list[str]:
    """The names of the averages in a state."""
    with safe_open(state / OPTIMIZER_FILE, "pt") as tensors:
        return [name for name in tensors.keys() if name.startswith("average")]  # noqa: SIM118
