"""Checkpoints are complete or named as damaged, and the newest whole one is taken."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from reid import storage
from reid.errors import StorageError, TrainingError, WeightsError
from reid.runs.folder import RunFolder
from reid.train.checkpoints import writing
from reid.train.checkpoints.reading import resume_from
from reid.train.checkpoints.record import RECORD_FILE, CheckpointRecord, Subject
from reid.train.checkpoints.retention import complete_records, remove_incomplete, remove_surplus
from reid.train.checkpoints.writing import CheckpointWriter
from reid.train.loop import train
from reid.train.reports import CheckpointPlace, Save, TrainingObserver
from reid.train.state import BEST_FILE, WEIGHTS_FILE
from tests.support.models.rank_comparison import same, weights
from tests.support.models.tiny_training import Configure

OURS = Subject("0001", "baseline", "1abe1")
MAP = "val/mAP"


class Saved:
    """A state of a few bytes; `held` keeps its writing back."""

    def __init__(self, content: str, held: threading.Event | None = None, every_rank: bool = False) -> None:
        self.content, self.held, self.on_every_rank = content, held, every_rank

    def __call__(self, folder: Path) -> bool:
        return self.copied()(folder)

    def copied(self) -> Callable[[Path], bool]:
        content = self.content

        def write(folder: Path) -> bool:
            if self.held is not None:
                self.held.wait(10)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / WEIGHTS_FILE).write_text(content)
            (folder / "progress.json").write_text("{}")
            return True

        return write


def at(epoch: int, step: int = 0, score: float = 0.5) -> CheckpointPlace:
    return CheckpointPlace(epoch, step, 10 * epoch + step, {MAP: score}, False)


def silent(line: str) -> None:
    """Nothing is said, unless this machine is so busy that a few bytes take seconds."""
    assert "wait" in line, line


def keep(run: Path, *places: CheckpointPlace, most: int = 9) -> None:
    writer = CheckpointWriter(str(run), OURS, most, MAP, silent)
    for place in places:
        writer.begin(place, Saved(f"weights of {place.name}"))
    writer.close()


def names(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "checkpoints").iterdir())


def resumed(run: Path, scratch: Path, told: list[str]) -> str | None:
    found = resume_from(str(run), OURS, MAP, scratch, told.append)
    return None if found is None else (found.folder / WEIGHTS_FILE).read_text()


def test_the_newest_is_taken_and_its_files_are_what_was_written(tmp_path: Path) -> None:
    keep(tmp_path / "run", at(1), at(1, 5), at(2))
    told: list[str] = []
    assert resumed(tmp_path / "run", tmp_path / "x", told) == "weights of epoch-0002-step-000000"
    assert told == []
    record = CheckpointRecord.read(str(tmp_path / "run/checkpoints/epoch-0002-step-000000"))
    assert (record.subject, record.place, record.world) == (OURS, "epoch 2, step 20", 1)
    assert set(record.files) == {WEIGHTS_FILE, "progress.json"}


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (truncate, r"damaged: \d+ bytes, and \d+ were written"),
        (flip_a_bit, "damaged: its SHA-256 is not the one that checkpoint.json records"),
        (Path.unlink, "missing, though checkpoint.json beside it lists it"),
    ],
)
def test_a_damaged_one_is_named_and_the_one_before_is_taken(
    tmp_path: Path, damage: Callable[[Path], None], reason: str
) -> None:
    keep(tmp_path / "run", at(1), at(2))
    damage(tmp_path / "run/checkpoints/epoch-0002-step-000000" / WEIGHTS_FILE)
    told: list[str] = []
    assert resumed(tmp_path / "run", tmp_path / "x", told) == "weights of epoch-0001-step-000000"
    (line,) = told
    assert f"epoch-0002-step-000000/{WEIGHTS_FILE}: " in line
    assert re.search(reason, line)


def test_one_whose_writer_was_killed_between_two_files_is_not_taken_and_is_cleared(tmp_path: Path) -> None:
    run = tmp_path / "run"
    keep(run, at(1), at(2))
    (run / "checkpoints/epoch-0002-step-000000" / RECORD_FILE).unlink()
    told: list[str] = []
    assert resumed(run, tmp_path / "x", told) == "weights of epoch-0001-step-000000"
    assert "not complete (its writer was stopped)" in told[0]
    remove_incomplete(str(run))
    assert names(run) == ["epoch-0001-step-000000"]


def test_without_a_usable_one_the_error_says_what_to_do_and_nothing_is_begun_anew(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert resumed(run, tmp_path / "x", []) is None
    keep(run, at(1), at(2))
    for path in run.rglob(WEIGHTS_FILE):
        truncate(path)
    with pytest.raises(
        WeightsError, match=r"none of 2 checkpoints can be used.*remove that folder.*newest: "
    ):
        resumed(run, tmp_path / "y", [])


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (replace(OURS, model="mfrnet"), "model.name=mfrnet; this run trains baseline"),
        (replace(OURS, labels="0ther"), "other identities or cameras"),
    ],
)
def test_one_of_another_model_or_label_map_is_refused(tmp_path: Path, other: Subject, words: str) -> None:
    writer = CheckpointWriter(str(tmp_path / "run"), other, 2, MAP, silent)
    writer.begin(at(1), Saved("w"))
    writer.close()
    with pytest.raises(WeightsError, match=words):
        resumed(tmp_path / "run", tmp_path / "x", [])


def test_the_newest_and_the_best_stay(tmp_path: Path) -> None:
    run = tmp_path / "run"
    scores = [0.1, 0.9, 0.3, 0.2]
    keep(run, *(at(n, score=score) for n, score in enumerate(scores, 1)), at(4, 5), most=2)
    assert names(run) == [
        f"epoch-{name}" for name in ("0002-step-000000", "0004-step-000000", "0004-step-000005")
    ]
    scratch = tmp_path / "x"
    resumed(run, scratch, [])
    best = scratch / "epoch-0004-step-000005" / BEST_FILE
    assert best.read_text() == "weights of epoch-0002-step-000000"
    remove_surplus(str(run), 1, MAP)
    assert len(names(run)) == 2


def test_metrics_of_an_earlier_epoch_do_not_make_a_later_step_the_best(tmp_path: Path) -> None:
    run = tmp_path / "run"
    keep(run, at(1, score=0.5), at(1, 5, score=0.5), at(2, score=0.1), most=1)
    assert names(run) == ["epoch-0001-step-000000", "epoch-0002-step-000000"]


def test_training_goes_on_while_one_is_written_and_waits_before_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "TOLD_AFTER_S", 0.05)
    told: list[str] = []
    writer = CheckpointWriter(str(tmp_path), OURS, 9, MAP, told.append)
    held = threading.Event()
    acts: list[int] = []
    writer.begin(at(1), Saved("slow", held))
    writer.when_written(lambda: acts.append(len(complete_records(str(tmp_path)))))
    assert acts == []
    threading.Timer(0.3, held.set).start()
    writer.begin(at(2), Saved("next"))
    assert acts == [1]  # told only when it was complete
    assert told == ["train: the step waits for the checkpoint before epoch-0002-step-000000 to be written"]
    writer.close()
    assert len(complete_records(str(tmp_path))) == 2


def test_what_could_not_be_written_is_the_error_of_the_next_and_nothing_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: CheckpointRecord, folder: str) -> None:
        raise StorageError(f"{folder}: no space left")

    monkeypatch.setattr(CheckpointRecord, "write", full)
    writer = CheckpointWriter(str(tmp_path), OURS, 9, MAP, silent)
    writer.begin(at(1), Saved("w"))
    writer.when_written(lambda: silent("told"))
    with pytest.raises(StorageError, match="no space left"):
        writer.begin(at(2), Saved("w"))
    writer.close()


def test_the_error_of_the_training_is_the_one_that_is_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "AFTER_ERROR_S", 0.1)
    told: list[str] = []
    # Rank 1 has ended without its part: that is neither waited for nor raised in place of why it ended.
    writer = CheckpointWriter(str(tmp_path), OURS, 9, MAP, told.append, 0, 2)
    writer.begin(at(1), Saved("w", every_rank=True))
    with pytest.raises(TrainingError, match="not finite"), writer:
        raise TrainingError("the loss is not finite")
    assert "the last checkpoint is not written either: " in told[-1]
    assert "rank 1 has not written its part" in told[-1]


def test_rank_0_completes_it_when_every_rank_has_written_its_files(tmp_path: Path) -> None:
    class Own(Saved):
        def copied(self) -> Callable[[Path], bool]:
            def write(folder: Path) -> bool:
                folder.mkdir(parents=True, exist_ok=True)
                (folder / f"weights-rank-{self.content}.safetensors").write_text(self.content)
                if self.content == "0000":
                    (folder / WEIGHTS_FILE).write_text("what all have")
                return True

            return write

    first, second = (CheckpointWriter(str(tmp_path), OURS, 9, MAP, silent, rank, 2) for rank in (0, 1))
    first.begin(at(1), Own("0000", every_rank=True))
    assert complete_records(str(tmp_path)) == {}
    second.begin(at(1), Own("0001", every_rank=True))
    second.close()
    first.close()
    (record,) = complete_records(str(tmp_path)).values()
    parts = {"weights-rank-0000.safetensors", "weights-rank-0001.safetensors"}
    assert set(record.files) == {WEIGHTS_FILE, *parts}
    assert resume_from(str(tmp_path), OURS, MAP, tmp_path / "x", silent)
    # When training comes here again, nothing of the first time is taken for what is new.
    assert not list(tmp_path.rglob("part-rank-*"))
    held = threading.Event()
    again = CheckpointWriter(str(tmp_path), OURS, 9, MAP, silent, 0, 2)
    again.begin(at(1), Own("0000", held, every_rank=True))
    until_gone(tmp_path / "checkpoints" / at(1).name / RECORD_FILE)
    held.set()
    second = CheckpointWriter(str(tmp_path), OURS, 9, MAP, silent, 1, 2)
    second.begin(at(1), Own("0001", every_rank=True))
    second.close()
    again.close()
    assert len(complete_records(str(tmp_path))) == 1


def until_gone(path: Path) -> None:
    """Wait for the writer's thread."""
    end = time.monotonic() + 8
    while path.exists() and time.monotonic() < end:
        time.sleep(0.01)
    assert not path.exists()


@pytest.mark.slow
def test_on_a_store_they_are_uploaded_checked_and_cleared_the_same(bucket: str, tmp_path: Path) -> None:
    run = storage.join(bucket, "run")
    writer = CheckpointWriter(run, OURS, 1, MAP, silent)
    for place in (at(1, score=0.9), at(2), at(3)):
        writer.begin(place, Saved(f"weights of {place.name}"))
    writer.close()
    kept = [uri.rpartition("/")[2] for uri in complete_records(run)]
    assert kept == ["epoch-0003-step-000000", "epoch-0001-step-000000"]
    broken = storage.join(run, "checkpoints/epoch-0003-step-000000", WEIGHTS_FILE)
    storage.write_bytes(broken, storage.read_bytes(broken)[:-1] + b"?")
    told: list[str] = []
    found = resume_from(run, OURS, MAP, tmp_path / "x", told.append)
    assert found is not None
    assert found.record.epoch == 1
    assert (found.folder / BEST_FILE).read_text() == "weights of epoch-0001-step-000000"
    assert "SHA-256" in told[0]


def test_the_best_weights_come_back_as_they_were_measured_where_weights_are_averaged(
    configure: Configure, tmp_path: Path
) -> None:
    config = configure(
        "train.val.fraction=0.25", "train.epochs=4", "train.optim.lr=1e-2", "train.ema.decay=0.5"
    )
    whole = tmp_path / "whole"
    writer = CheckpointWriter(str(whole), OURS, 9, MAP, silent)

    class Kept(TrainingObserver):
        def checkpoint(self, at: CheckpointPlace, save: Save) -> None:
            writer.begin(at, save)

    train(config, str(whole), observer=Kept())
    writer.close()
    found = resume_from(str(whole), OURS, MAP, tmp_path / "x", silent)
    assert found is not None
    train(config, str(tmp_path / "again"), resume=found.folder)
    assert same(weights(tmp_path / "again"), weights(whole))
    assert RunFolder.open(str(tmp_path / "again")).info["best_metric"] == max(
        row[MAP] for row in RunFolder.open(str(whole)).metrics()
    )
