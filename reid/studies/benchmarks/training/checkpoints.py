"""What a checkpoint costs a training: how long a step waits for it, when it is written, how large it is."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch

from reid.models.base import ReIDModel
from reid.studies.benchmarks.gpu.systems import SMALL, SystemCase
from reid.studies.benchmarks.timing import BenchmarkRow
from reid.train.checkpoints.record import Subject
from reid.train.checkpoints.writing import CheckpointWriter
from reid.train.optimizer import build_optimizer
from reid.train.reports import CheckpointPlace
from reid.train.state import StateSaver, TrainingProgress

NEEDED = 0.99
"""Target: the weights and the optimiser's numbers are at least this share of the bytes."""
MOST = 2
FASTER = 2.0
"""Target: a step waits so many times less than for torch.save of the same tensors."""


def checkpoint_rows(repeats: int, system: str = "baseline", small: bool = False) -> Iterator[BenchmarkRow]:
    """A state at the size of a paper (ViT-B/16 and AdamW's moments, a gigabyte) on the local disk.

    Measured at most MOST times; `small`: a laptop's model.
    """
    repeats = min(repeats, MOST)
    case = SystemCase.of(system, SMALL if small else None)
    model = case.model()
    optimizer = build_optimizer(model, case.config.train.optim)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None
    optimizer.step()
    saver = StateSaver(model, optimizer, TrainingProgress())
    with tempfile.TemporaryDirectory(prefix="anyreid-bench-") as folder:
        plain = min(_seconds(lambda: _plainly(Path(folder), model, optimizer)) for _ in range(repeats))
        waited = whole = float("inf")
        run = f"{folder}/run"
        with CheckpointWriter(run, Subject("bench", system, ""), 1, "val/mAP", lambda line: None) as writer:
            place = CheckpointPlace(0, 0, 0, {}, last=False)
            for number in range(repeats):
                began = time.perf_counter()
                writer.begin(replace(place, epoch=number, total=number), saver)
                waited = min(waited, time.perf_counter() - began)
                writer.wait()
                whole = min(whole, time.perf_counter() - began)
        size = sum(file.stat().st_size for file in Path(run).rglob("*") if file.is_file())
    needed = _bytes(model, optimizer)
    name = f"checkpoint of {system}"
    yield BenchmarkRow(
        f"{name}: a step waits, for torch.save", waited * 1e3, "ms", plain * 1e3, plain / waited, FASTER
    )
    yield BenchmarkRow(f"{name}: until it is written", whole, "s", plain, plain / whole)
    yield BenchmarkRow(f"{name}: size", size / 2**20, "MiB", needed / 2**20, needed / size, NEEDED)


def _seconds(act: Callable[[], None]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def _plainly(folder: Path, model: ReIDModel, optimizer: torch.optim.Optimizer) -> None:
    """What a script does: one file, written while the training waits, on the disk when it goes on."""
    with open(folder / "plain.pt", "wb") as file:
        torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, file)
        file.flush()
        os.fsync(file.fileno())


def _bytes(model: ReIDModel, optimizer: torch.optim.Optimizer) -> int:
    """Of the weights, and of what the optimiser knows of them."""
    known = [x for state in optimizer.state.values() for x in state.values() if isinstance(x, torch.Tensor)]
    return sum(x.numel() * x.element_size() for x in (*model.state_dict().values(), *known))
