"""Checks that run one after another within a time limit; one that cannot run says why."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch

from reid.studies.benchmarks.timing import BenchmarkRow


class CannotRun(Exception):
    """Raised by a check that this machine cannot run; the message says why."""


@dataclass(frozen=True)
class GpuCheck:
    """A named part of a benchmark."""

    name: str
    run: Callable[[], Iterator[BenchmarkRow]]


def run_checks(
    checks: Iterable[GpuCheck], limit_s: float, clock: Callable[[], float] = time.monotonic
) -> Iterator[BenchmarkRow]:
    """The rows of all checks. A check that fails, or for which no time is left, is a row with the reason.

    `limit_s`: no check starts after so many seconds.

    >>> def none() -> Iterator[BenchmarkRow]:
    ...     raise CannotRun("no compiler here")
    >>> [row.line() for row in run_checks([GpuCheck("compiled", none)], 60)]
    ['compiled                                     skipped: no compiler here']
    """
    began = clock()
    for check in checks:
        if clock() - began >= limit_s:
            yield BenchmarkRow(check.name, skipped=f"the time limit of {limit_s:g} s is reached")
            continue
        try:
            yield from check.run()
        except CannotRun as why:
            yield BenchmarkRow(check.name, skipped=str(why))
        except torch.OutOfMemoryError:
            yield BenchmarkRow(check.name, skipped="the GPU's memory is too small; lower --rows")
        except Exception as error:  # the other checks still tell something
            text = " ".join(str(error).split())
            yield BenchmarkRow(check.name, failed=f"{type(error).__name__}: {text[:300]}")
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
