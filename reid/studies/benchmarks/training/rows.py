"""The parts of `jobs.benchmark train`, in order; each subject is a module beside this one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from reid.studies.benchmarks.collectives import Network, collective_rows
from reid.studies.benchmarks.timing import BenchmarkRow
from reid.studies.benchmarks.training.checkpoints import checkpoint_rows
from reid.studies.benchmarks.training.loader import loader_rows, waiting_rows
from reid.studies.benchmarks.training.metrics_table import metrics_rows
from reid.studies.benchmarks.training.overhead import Train, overhead_rows

PARTS = {
    "loader": "batches per core and by number of processes",
    "waiting": "for data, beside a step",
    "metrics": "appended against rewritten",
    "checkpoint": "time and bytes",
    "ray": "a training on Ray Train against a bare loop",
    "collectives": "calls and bytes of a step at many ranks",
}
"""What each part measures."""


def train_rows(
    parts: Sequence[str],
    repeats: int,
    systems: Sequence[str],
    rows: int,
    network: Network,
    train: Train,
    small: bool = False,
) -> Iterator[BenchmarkRow]:
    """Every measurement of some parts, as it is made.

    Args:
        parts: names of `PARTS`; they are measured in that order.
        repeats: turns of each competitor; the best counts.
        systems, rows: whose collectives are counted, see `collective_rows`.
        small: a laptop's models, not those of the papers.
        network: from which their time is predicted.
        train: see `overhead_rows`.
    """
    if "loader" in parts:
        yield from loader_rows(repeats)
    if "waiting" in parts:
        yield from waiting_rows(repeats)
    if "metrics" in parts:
        yield from metrics_rows(repeats)
    if "checkpoint" in parts:
        yield from checkpoint_rows(repeats, small=small)
    if "ray" in parts:
        yield from overhead_rows(train)
    if "collectives" in parts:
        yield from collective_rows(systems, rows, network, small)
