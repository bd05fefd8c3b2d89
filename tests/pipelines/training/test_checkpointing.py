"""Where a training goes on from, and what it removes for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pipelines.training.checkpointing import resume, writer
from reid.train.checkpoints.record import Subject
from reid.train.naming.origin import Parent, begin_run
from reid.train.reports import CheckpointPlace
from reid.train.state import BEST_FILE, WEIGHTS_FILE
from tests.support.tiny_configs import config_of, silent

OURS = Subject("0001", "baseline", "1abe1")


class Saved:
    """A state of a few bytes."""

    on_every_rank = False

    def __init__(self, content: str) -> None:
        self.content = content

    def __call__(self, folder: Path) -> bool:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / WEIGHTS_FILE).write_text(self.content)
        return True

    def copied(self) -> Callable[[Path], bool]:
        return self


def at(epoch: int, score: float = 0.5) -> CheckpointPlace:
    return CheckpointPlace(epoch, 0, 10 * epoch, {"val/mAP": score}, False)


def names(run: Path) -> list[str]:
    return sorted(path.name.removesuffix("-step-000000") for path in (run / "checkpoints").iterdir())


def test_a_damaged_checkpoint_is_removed_so_that_good_ones_are_the_newest(tmp_path: Path) -> None:
    config = config_of(tmp_path / "work", "train.checkpoint.keep=2")
    run = tmp_path / "run"
    begin_run(str(run), config, OURS, "data")
    kept = writer(config, str(run), silent)
    for epoch in (1, 2, 4):
        kept.begin(at(epoch), Saved(f"weights of {epoch}"))
    kept.close()
    damaged = run / "checkpoints" / at(4).name
    (damaged / WEIGHTS_FILE).write_text("?")
    told: list[str] = []
    state = resume(config, str(run), tmp_path / "x", told.append)
    assert state is not None
    assert (state / WEIGHTS_FILE).read_text() == "weights of 2"
    assert names(run) == ["epoch-0001", "epoch-0002"]
    assert any(f"{damaged.name}: removed" in line for line in told)
    kept = writer(config, str(run), silent)
    kept.begin(at(3), Saved("weights of 3"))
    kept.close()
    assert names(run) == ["epoch-0001", "epoch-0002", "epoch-0003"]


def test_the_best_weights_are_those_of_the_run_and_not_of_the_one_that_it_continues(tmp_path: Path) -> None:
    config = config_of(tmp_path / "work")
    parent, run = str(tmp_path / "parent"), str(tmp_path / "run")
    begin_run(parent, config, OURS, "data")
    begin_run(run, config, OURS, "data", Parent(parent, 2, 20, ()))
    for uri, epochs in ((parent, (1, 2)), (run, (3,))):
        with writer(config, uri, silent) as kept:
            for epoch in epochs:
                kept.begin(at(epoch, score=1 / epoch), Saved(f"weights of {epoch}"))
        state = resume(config, run, tmp_path / f"from-{epochs[-1]}", lambda line: None)
        assert state is not None
        assert (state / WEIGHTS_FILE).read_text() == f"weights of {epochs[-1]}"
        best = state / BEST_FILE
        assert (best.read_text() if best.exists() else None) == (None if uri == parent else "weights of 3")
