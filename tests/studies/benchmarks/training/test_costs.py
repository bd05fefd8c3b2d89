"""What a training costs beside its steps: the benchmarks measure real checkpoints and real trainings."""

from __future__ import annotations

import pytest

from pipelines.training.train import train_run
from reid.config import Config, override
from reid.studies.benchmarks.training.checkpoints import checkpoint_rows
from reid.studies.benchmarks.training.overhead import overhead_rows


@pytest.mark.slow
def test_a_checkpoint_is_as_large_as_weights_and_moments() -> None:
    waited, written, size = checkpoint_rows(repeats=1, small=True)
    assert waited.value is not None and written.value is not None
    assert 0 < waited.value / 1e3 < written.value
    assert size.ratio is not None and 0.9 < size.ratio <= 1


@pytest.mark.slow
def test_a_training_is_timed_beside_a_bare_loop_on_the_same_batches() -> None:
    asked = []

    def train(config: Config) -> str:
        asked.append(config.train.workers)
        return train_run(override(config, {"train.workers": 0}), out=lambda line: None).run.uri

    rows = {row.name: row for row in overhead_rows(train, epochs=2, steps=2)}
    assert asked == [0, 1]
    assert all(row.value is not None and row.value > 0 for row in rows.values())
    assert rows["added to a step of 200 ms on Ray Train"].target == 1
