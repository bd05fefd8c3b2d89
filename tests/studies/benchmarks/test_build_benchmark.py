"""The build's benchmark measures what it says; Ray is left out here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from reid.config import Config
from reid.data.shards.manifest import Shard
from reid.dataset.planning.shard_task import ShardTask
from reid.dataset.stages.running import run_here
from reid.studies.benchmarks import build
from reid.studies.benchmarks.build import build_rows


def test_rows_compare_one_worker_with_the_loop_and_two_with_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "DIFFERENT", 4)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    asked: list[tuple[int | None, int]] = []

    def run(config: Config, root: str, tasks: Sequence[ShardTask]) -> Iterator[Shard]:
        asked.append((config.build.concurrency, len(tasks)))
        return run_here(config, root, tasks)

    rows = {row.name: row for row in build_rows(1, run, shards=6, rows_per_shard=4)}
    assert asked == [(2, 4), (1, 6), (2, 6)], "a warm-up, then the competitors"
    loop, one, two = (rows[name] for name in ("plain loop", "one Ray worker", "two Ray workers"))
    assert one.reference == loop.value and two.reference == one.value
    assert one.ratio == pytest.approx(loop.value / one.value) and one.target == 1 / 1.15
    assert two.target == 1.5
    assert {"  read", "  decode", "  sketch", "  nir", "  write"} < set(rows)
    assert rows["a row between two processes"].ok is not None


def test_the_start_is_not_measured() -> None:
    class Slow:
        def __init__(self) -> None:
            self.now = 0.0

        def __call__(self) -> float:
            return self.now

    clock = Slow()

    def run(config: Config, root: str, tasks: Sequence[ShardTask]) -> Iterator[Shard]:
        for seconds in (9.0, 1.0, 1.0, 1.0, 1.0):
            clock.now += seconds
            yield Shard(key="", file="", split="", rows=2, bytes=0, sha256="", row_groups=[], modalities={})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build.time, "perf_counter", clock)
        config = build.settings(Path("x"), 2, 1)
        assert build._a_row(run, config, Path("x"), [], 1) == pytest.approx(0.5)
