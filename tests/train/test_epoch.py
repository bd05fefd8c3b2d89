"""The steps between two reports wait for the device at no point of the loop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reid.config import Config
from reid.train.epoch import train_steps
from reid.train.loop import train
from reid.train.nonfinite.guard import StepGuard
from tests.support.models.host_reads import HostReads
from tests.support.models.observers import Recorder

Configure = Callable[..., Config]


@pytest.fixture
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The guard may not look at its decision."""
    made = StepGuard.__init__

    def unasked(self: StepGuard, *arguments: Any) -> None:
        made(self, *arguments)
        self.waits = False

    monkeypatch.setattr(StepGuard, "__init__", unasked)
    monkeypatch.setattr(StepGuard, "noticed", lambda self: False)


@pytest.mark.usefixtures("as_on_a_gpu")
@pytest.mark.parametrize("clip", ["null", "1.0"])
def test_no_step_asks_the_device_for_a_number(
    clip: str, configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = HostReads()

    def watched(*arguments: Any) -> Any:
        with reads:
            return train_steps(*arguments)

    monkeypatch.setattr("reid.train.loop.train_steps", watched)
    seen = Recorder()
    optim = f"train.optim={{clip_norm: {clip}, fused: true}}"
    config = configure("train.epochs=1", "train.log_every=100", optim)
    train(config, str(tmp_path / "run"), observer=seen)
    assert reads.seen == []
    assert [report.step for report in seen.steps] == [3]
    assert seen.steps[0].metrics["grad_norm"] > 0
