"""What a training adds to its steps: our loop in this process, and on Ray Train, against a bare loop.

The bare loop is forward, backward and the optimiser's step on the same batches. The others also guard against
steps that are not finite, seed every step, measure, report, and keep a checkpoint after each epoch. Its cost
does not depend on the size of a step, so it is told beside a step of 200 ms.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise

import torch

from reid.config import Config, load, override
from reid.data.shards.shard_set import ShardSet
from reid.models.registry import build_model
from reid.runs.identities import training_labels
from reid.runs.metrics.table import MetricsTable
from reid.runs.run import model_context
from reid.studies.benchmarks.stream import picture_of, write_set
from reid.studies.benchmarks.timing import BenchmarkRow
from reid.train.epoch import total_loss
from reid.train.optimizer import build_optimizer
from reid.train.setup import training_loader, training_stream

Train = Callable[[Config], str]
"""Trains a run on Ray or not, as `train.workers` says; its uri."""
HEIGHT, WIDTH = 128, 64
EPOCHS, STEPS = 5, 15
"""The first epoch warms up: processes start, and libraries are imported."""
STEP_S, SHARE = 0.2, 0.05
"""A step on a GPU, and the share of it that may be added."""


def overhead_rows(train: Train, epochs: int = EPOCHS, steps: int = STEPS) -> Iterator[BenchmarkRow]:
    """Seconds a step, all between the ends of two epochs included; of the epochs the median."""
    with tempfile.TemporaryDirectory(prefix="anyreid-bench-") as folder, one_thread():
        config = override(_config(folder), {"train.epochs": epochs, "train.steps_per_epoch": steps})
        bare = _bare(config)
        yield BenchmarkRow("a step of a bare loop", bare * 1e3, "ms")
        for workers, where in ((0, "in this process"), (1, "on Ray Train")):
            uri = train(override(config, {"train.workers": workers, "name": f"bench-{workers}"}))
            ends = [float(row["time"]) for row in MetricsTable.of(uri).epochs()]
            ours = _median_step(ends, steps)
            added = max(ours - bare, 1e-6)
            yield BenchmarkRow(f"a step of a training {where}", ours * 1e3, "ms", bare * 1e3, bare / ours)
            yield BenchmarkRow(
                f"added to a step of {STEP_S * 1e3:.0f} ms {where}",
                100 * added / STEP_S,
                "%",
                100 * SHARE,
                SHARE * STEP_S / added,
                1.0,
            )


def _config(folder: str) -> Config:
    pictures = [picture_of(seed, HEIGHT, WIDTH) for seed in range(256)]
    shards = write_set(f"{folder}/set", 64, 8, lambda i: pictures[i % len(pictures)])
    tower = {"arch": None, "patch": 16, "width": 192, "layers": 4, "heads": 3, "dim": 128}
    return load(
        {
            "name": "bench",
            "workdir": folder,
            "device": "cpu",
            "data": {
                "name": "made",
                "reader": {"name": "synthetic"},
                "shards": shards.root,
                "modalities": "rgb",
                "height": HEIGHT,
                "width": WIDTH,
            },
            "model": {"name": "baseline", "tower": tower},
            "train": {
                "batch": {"identities": 8, "instances": 4},
                "val": {"fraction": 0.0},
            },
        }
    )


def _bare(config: Config) -> float:
    """Seconds a step of the plainest loop over the same batches."""
    shards = ShardSet.open(str(config.data.shards))
    labels, _ = training_labels(shards, 0.0, config.seed)
    model = build_model(config.model, model_context(config, labels)).train()
    optimizer = build_optimizer(model, config.train.optim)
    stream = training_stream(config, shards, labels)
    ends, steps = [], config.train.steps_per_epoch or STEPS
    with training_loader(config, stream, torch.device("cpu")) as loader:
        for epoch in range(config.train.epochs):
            for batch in loader.epoch(epoch, steps):
                optimizer.zero_grad(set_to_none=True)
                total_loss(model(batch)).backward()
                optimizer.step()
            ends.append(time.time())
    return _median_step(ends, steps)


def _median_step(ends: list[float], steps: int) -> float:
    """Of the ends of epochs of so many steps."""
    return statistics.median(b - a for a, b in pairwise(ends)) / steps


@contextmanager
def one_thread() -> Iterator[None]:
    """Products use one thread here, too, as they do in a worker with one CPU."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
