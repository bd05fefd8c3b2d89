"""Ratios measured in one run: competitors take turns, and each one's best time counts."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch


@dataclass(frozen=True)
class BenchmarkRow:
    """One line of a benchmark: a value, what it is compared with, and whether the target is met."""

    name: str
    value: float | None = None
    unit: str = ""
    reference: float | None = None
    ratio: float | None = None
    target: float | None = None
    skipped: str | None = None
    """Why it was not measured."""
    failed: str | None = None
    """The error that ended it."""

    @property
    def ok(self) -> bool | None:
        """None without a target; False for an error."""
        if self.failed is not None:
            return False
        return None if self.target is None or self.ratio is None else self.ratio >= self.target

    def to_json(self) -> dict[str, Any]:
        """{name, value, unit, reference, ratio, target, skipped, failed, ok}."""
        return {**asdict(self), "ok": self.ok}

    def line(self) -> str:
        """For a person."""
        if self.skipped is not None:
            return f"{self.name:<44} skipped: {self.skipped}"
        if self.failed is not None:
            return f"{self.name:<44} FAILED: {self.failed}"
        text = f"{self.name:<44}{self.value:>12.4g} {self.unit:<9}"
        if self.reference is not None:
            text += f" reference {self.reference:<10.4g}"
        if self.ratio is not None:
            text += f" ratio {self.ratio:.2f}"
        if self.target is not None:
            text += f" (target {self.target:g}: {'met' if self.ok else 'NOT MET'})"
        return text.rstrip()


@dataclass
class Timing:
    """Best of several calls."""

    seconds: float = float("inf")
    cpu_seconds: float = float("inf")
    """Of all threads of this process: steadier than `seconds` on a shared machine; meaningless on a GPU."""
    peak_mib: float = 0.0
    """Memory above what was held before the call."""


def compare(
    competitors: Mapping[str, Callable[[], Any]], repeats: int, device: torch.device
) -> dict[str, Timing]:
    """Call every competitor once to warm up (memory is measured then), then in turns `repeats` times."""
    found = {name: Timing() for name in competitors}
    for name, call in competitors.items():
        with _peak(found[name], device):
            call()
            _wait(device)
    for _ in range(repeats):
        for name, call in competitors.items():
            gc.collect()
            _wait(device)
            started, cpu = time.perf_counter(), time.process_time()
            call()
            _wait(device)
            best = found[name]
            best.seconds = min(best.seconds, time.perf_counter() - started)
            best.cpu_seconds = min(best.cpu_seconds, time.process_time() - cpu)
    return found


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextmanager
def _peak(into: Timing, device: torch.device) -> Iterator[None]:
    """The highest memory within, above the start: of the allocator on a GPU, else resident, sampled."""
    gc.collect()
    _give_back()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        yield
        into.peak_mib = (torch.cuda.max_memory_allocated(device) - before) / 2**20
        return
    before, highest, done = _resident(), [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.005):
            highest[0] = max(highest[0], _resident())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
    into.peak_mib = max(0, highest[0] - before) / 2**20


def _give_back() -> None:
    """Let the C library return freed memory, so that one competitor's peak does not hide the next one's."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _resident() -> int:
    """Bytes of this process in memory; 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * 4096
