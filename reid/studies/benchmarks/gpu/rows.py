"""Every check of a GPU in order of what one wants to know first, within a time limit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import torch

from reid.studies.benchmarks.gpu.checks import CannotRun, GpuCheck, run_checks
from reid.studies.benchmarks.gpu.generators import generator_rows
from reid.studies.benchmarks.gpu.retrieval import evaluator_rows
from reid.studies.benchmarks.gpu.steps import agreement_rows, speed_rows
from reid.studies.benchmarks.gpu.systems import PRESETS, SMALL, SystemCase
from reid.studies.benchmarks.gpu.transfers import transfer_rows
from reid.studies.benchmarks.moe import moe_rows
from reid.studies.benchmarks.timing import BenchmarkRow

LIMIT_S = 420.0
"""No check starts later: the whole stays below eight minutes."""
NO_GPU = "torch sees no GPU here; `--device cpu --small` tries the check without one"
AGREE_ROWS = 8
"""Captures whose losses and gradients are compared: a CPU computes them, too."""


def gpu_rows(
    device: torch.device | None,
    systems: Sequence[str] = tuple(PRESETS),
    rows: int = 64,
    repeats: int = 5,
    small: bool = False,
    limit_s: float = LIMIT_S,
) -> Iterator[BenchmarkRow]:
    """Rows of all checks.

    Args:
        device: the GPU. A CPU serves to try the checks, with `small`. None: there is none, and every check
            says so.
        systems: names of `PRESETS`.
        rows: captures in a batch of the speed checks.
        repeats: turns of each competitor; the best counts.
        small: the laptop's presets and sizes instead of the papers'.
        limit_s: no check starts after so many seconds.
    """
    cases = [SystemCase.of(name, SMALL if small else None) for name in systems]
    sizes = (400, 2000) if small else (2000, 50_000)
    place = device or torch.device("cpu")
    checks = [
        *(GpuCheck(f"{c.name} against CPU", partial(agreement_rows, c, AGREE_ROWS, place)) for c in cases),
        *(GpuCheck(f"{c.name} speed", partial(speed_rows, c, rows, repeats, place)) for c in cases),
        GpuCheck("batch to device", partial(_transfers, cases[0], rows, repeats, place)),
        GpuCheck("experts", partial(moe_rows, repeats, place)),
        GpuCheck("generators", partial(generator_rows, 8 if small else 128, repeats, place, sam=not small)),
        GpuCheck("evaluator", partial(evaluator_rows, *sizes, repeats, place)),
    ]
    if device is None:
        checks = [GpuCheck(check.name, _without_a_gpu) for check in checks]
    yield from run_checks(checks, limit_s)


def _transfers(case: SystemCase, rows: int, repeats: int, device: torch.device) -> Iterator[BenchmarkRow]:
    yield from transfer_rows(case.batch(case.model(), rows), repeats, device)


def _without_a_gpu() -> Iterator[BenchmarkRow]:
    raise CannotRun(NO_GPU)
