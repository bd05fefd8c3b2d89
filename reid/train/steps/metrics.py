"""The numbers of training steps: kept on the device, fetched together."""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from reid.models.base import Output


class StepMetrics:
    """Losses, statistics and gradient norms of the steps since the last fetch.

    Adding a step does not wait for the device; fetching waits once, however many steps there are.

    >>> metrics = StepMetrics(torch.device("cpu"))
    >>> losses = {"id": torch.tensor(2.0), "triplet": torch.tensor(0.5)}
    >>> metrics.add(Output(losses, torch.zeros(4, 8)), torch.tensor(2.5), torch.tensor(3.0))
    >>> metrics.fetch()
    [{'loss': 2.5, 'grad_norm': 3.0, 'loss/id': 2.0, 'loss/triplet': 0.5}]
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._names: list[tuple[str, ...]] = []
        self._values: list[Tensor] = []

    def __len__(self) -> int:
        return len(self._names)

    def add(self, output: Output, loss: Tensor, norm: Tensor) -> None:
        """Keep a step's numbers: its loss, the norm of its gradient, and what the model says."""
        found: dict[str, Tensor] = {"loss": loss, "grad_norm": norm}
        found |= {f"loss/{name}": value for name, value in output.losses.items()}
        found |= {f"stat/{name}": self._placed(value) for name, value in output.stats.items()}
        self._names.append(tuple(found))
        self._values.append(torch.stack([v.detach().float().reshape(()) for v in found.values()]))

    def _placed(self, value: Tensor | float) -> Tensor:
        """A number on the device; one that is not there is filled in, as copying it would wait."""
        if isinstance(value, Tensor) and value.device == self.device:
            return value
        return torch.full((), float(value), device=self.device)

    def fetch(self) -> list[dict[str, float]]:
        """The numbers of each step in order; none are kept."""
        if not self._names:
            return []
        values = iter(torch.cat(self._values).tolist())
        found = [{name: next(values) for name in names} for names in self._names]
        self._names, self._values = [], []
        return found


def means(steps: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of every number over the steps; one that a step lacks is 0 there.

    >>> means([{"loss": 1.0, "loss/id": 1.0}, {"loss": 2.0}])
    {'loss': 1.5, 'loss/id': 0.5}
    """
    sums: dict[str, float] = defaultdict(float)
    for numbers in steps:
        for name, number in numbers.items():
            sums[name] += number
    return {name: total / len(steps) for name, total in sums.items()}


@dataclass(frozen=True)
class Taken:
    """What some steps took: rows of all ranks, seconds, the share of them that was waiting for data."""

    rows: int
    seconds: float
    waiting: float
    device_mib: float | None

    def metrics(self, steps: int) -> dict[str, float]:
        """As the numbers of a report of so many steps."""
        return {
            "rows_per_s": self.rows / self.seconds,
            "data_wait": self.waiting,
            "step_seconds": self.seconds / steps,
            **({} if self.device_mib is None else {"device_mib": self.device_mib}),
        }


class Window:
    """Measures the time and counts the rows of steps, from its making or its last `close`."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._began, self._waited, self.rows = time.perf_counter(), 0.0, 0

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """The time in this block is waiting for data."""
        began = time.perf_counter()
        yield
        self._waited += time.perf_counter() - began

    def close(self) -> Taken:
        """What the steps took; the next window begins."""
        now = time.perf_counter()
        seconds = max(now - self._began, 1e-9)
        cuda = self.device.type == "cuda"
        memory = torch.cuda.max_memory_allocated(self.device) / 2**20 if cuda else None
        taken = Taken(self.rows, seconds, min(1.0, self._waited / seconds), memory)
        self._began, self._waited, self.rows = now, 0.0, 0
        return taken
