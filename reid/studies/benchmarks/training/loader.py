"""How fast batches are made ahead, and whether a training step waits for them.

A picture is a JPEG of a person's crop. The reference is one process that decodes and augments, and does
nothing else. Per core means per second of CPU time, which a busy machine changes little; rates and waiting
are by the clock, and mean something on an idle machine only.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from reid.config import AugmentConfig, BatchConfig, DataConfig
from reid.config.sections.training.loader import LoaderConfig
from reid.data.batches.collate import Collator
from reid.data.batches.stream import BatchStream, StreamPlace
from reid.modality import Modality
from reid.studies.benchmarks.stream import picture_of, write_set
from reid.studies.benchmarks.timing import BenchmarkRow
from reid.train.loading.loader import BatchLoader, cpus_here

HEIGHT, WIDTH = 128, 64
P, K = 16, 4
STEP_S = 0.05
"""A training step that occupies no CPU here, as one on a GPU."""
WARM = 4
"""Batches before the clock starts: processes import for seconds."""
WAIT, EFFICIENCY = 0.05, 0.8
"""Targets: largest share of waiting; work per core against bare decoding and augmentation."""


def loader_rows(repeats: int, steps: int = 40) -> Iterator[BenchmarkRow]:
    """Rates and work per core of loaders of each kind and count."""
    with tempfile.TemporaryDirectory() as folder:
        stream = _stream(folder)
        bare = max(_bare(stream, steps) for _ in range(repeats))
        yield BenchmarkRow("decoding and augmenting alone", bare, "rows/CPU s")
        alone: dict[str, float] = {}
        for kind in ("threads", "processes"):
            for count in sorted({1, 2, cpus_here()}):
                rate, work, here = _best_drained(stream, _loader(kind, count), repeats, steps)
                name = f"loader, {count} {kind}"
                target = EFFICIENCY if kind == "processes" else None
                yield BenchmarkRow(f"{name}: work", work, "rows/CPU s", bare, work / bare, target)
                first = alone.setdefault(kind, rate)
                yield BenchmarkRow(f"{name}: rate", rate, "rows/s", first, rate / first)
                yield BenchmarkRow(f"{name}: CPU of the training process", here * 1e6, "us/row")


def waiting_rows(repeats: int, steps: int = 40) -> Iterator[BenchmarkRow]:
    """The share of a training's time that goes to waiting for batches, beside a step on another device."""
    with tempfile.TemporaryDirectory() as folder:
        stream = _stream(folder)
        for kind in ("none", "threads", "processes"):
            with BatchLoader(stream, _loader(kind, max(1, cpus_here() - 1))) as loader:
                share = min(_waiting(loader, number, steps) for number in range(repeats))
            row = f"waiting beside a step of {STEP_S * 1e3:.0f} ms, {kind}"
            aimed = kind == "processes"
            ratio = WAIT / max(share, 1e-6) if aimed else None
            yield BenchmarkRow(row, share * 100, "%", WAIT * 100, ratio, 1.0 if aimed else None)


def _loader(kind: str, count: int) -> LoaderConfig:
    return LoaderConfig.model_validate({"kind": kind, "count": count})


def _stream(folder: str) -> BatchStream:
    pictures = [picture_of(seed, HEIGHT, WIDTH) for seed in range(256)]
    shards = write_set(str(Path(folder) / "set"), 128, 8, lambda i: pictures[i % len(pictures)])
    labels = {identity: i for i, identity in enumerate(shards.identities("train"))}
    reader = {"name": "folder", "path": "unused"}
    data = DataConfig.model_validate(
        {"name": "made", "reader": reader, "modalities": ("rgb",), "height": HEIGHT, "width": WIDTH}
    )
    collator = Collator(data, augment=AugmentConfig())
    config = BatchConfig(identities=P, instances=K)
    return BatchStream(shards, labels, (Modality.RGB,), config, collator, StreamPlace(0))


def _bare(stream: BatchStream, steps: int) -> float:
    """Rows in a second of CPU time, of rows that are in memory."""
    tasks = list(stream.tasks(0, steps))
    began = time.process_time()
    for task in tasks:
        task.made(stream.collator)
    return steps * P * K / (time.process_time() - began)


def _best_drained(
    stream: BatchStream, config: LoaderConfig, repeats: int, steps: int
) -> tuple[float, float, float]:
    """Rows a second, rows a second of CPU time of all processes, and this process's CPU seconds a row.

    Each the best of some epochs of one loader, whose processes start once.
    """
    with BatchLoader(stream, config) as loader:
        rates, works, costs = zip(
            *(_drained(loader, number, steps) for number in range(repeats)), strict=True
        )
    return max(rates), max(works), min(costs)


def _drained(loader: BatchLoader, number: int, steps: int) -> tuple[float, float, float]:
    batches = loader.epoch(number, WARM + steps)
    for _ in range(WARM):
        next(batches)
    began, own, theirs = time.perf_counter(), time.process_time(), _cpu_seconds(loader.pids)
    rows = sum(len(batch) for batch in batches) - loader.count * loader.config.prefetch * P * K  # made before
    seconds, here = time.perf_counter() - began, time.process_time() - own
    work = here + _cpu_seconds(loader.pids) - theirs
    return rows / seconds, rows / work, here / rows


def _waiting(loader: BatchLoader, number: int, steps: int) -> float:
    """Share of the time in which a loop of steps waits for its batches."""
    batches = loader.epoch(number, WARM + steps)
    for _ in range(WARM):
        next(batches)
    began, waited = time.perf_counter(), 0.0
    for _ in range(steps):
        asked = time.perf_counter()
        next(batches)
        waited += time.perf_counter() - asked
        time.sleep(STEP_S)
    return waited / (time.perf_counter() - began)


def _cpu_seconds(pids: list[int]) -> float:
    """CPU time of running processes so far; 0 where the system does not tell."""
    total = 0.0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total
