"""An exponential moving average of the trained weights (`train.ema`)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, _foreach_lerp_

AVERAGE = "average"
"""Name in the optimiser's state of a parameter, with which it is saved and loaded."""


class WeightAverage:
    """After every step: average = decay x average + (1 - decay) x weight.

    It starts at the weights after the first step, and lives in the optimiser's state, so that it is part of
    every checkpoint. What the optimiser does not train has no average: frozen weights are constant, and
    running statistics are averages already.

    >>> weight = torch.nn.Parameter(torch.zeros(1))
    >>> optimizer = torch.optim.SGD([weight], lr=1.0, momentum=0.9)
    >>> average = WeightAverage(optimizer, decay=0.5)
    >>> for _ in range(2):
    ...     weight.grad = torch.ones(1) if not optimizer.state else torch.zeros(1)
    ...     optimizer.step()
    >>> with average.in_place():
    ...     print(weight.detach())
    tensor([-1.4500])
    >>> weight.detach()
    tensor([-1.9000])
    """

    def __init__(self, optimizer: torch.optim.Optimizer, decay: float) -> None:
        self.optimizer, self.decay = optimizer, decay
        optimizer.register_step_post_hook(self._update)

    def _averages(self) -> list[tuple[Tensor, Tensor]]:
        """(weight, its average) of every weight that has been trained."""
        parameters = (p for group in self.optimizer.param_groups for p in group["params"])
        held = self.optimizer.state
        return [(p, held[p][AVERAGE]) for p in parameters if p in held and AVERAGE in held[p]]

    @torch.no_grad()
    def _update(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        pairs = self._averages()
        if pairs:
            weights, averages = (list(x) for x in zip(*pairs, strict=True))
            left_out = getattr(optimizer, "found_inf", None)  # 1 on the device: this step was not taken
            if left_out is None:
                _foreach_lerp_(averages, weights, 1 - self.decay)
            else:
                share = (1 - self.decay) * (1 - left_out)
                _foreach_lerp_(averages, weights, [share.to(w.dtype) for w in weights])
        for parameter, state in optimizer.state.items():
            if state and AVERAGE not in state:
                state[AVERAGE] = parameter.detach().clone()

    @torch.no_grad()
    def apply(self) -> None:
        """Set every trained weight to its average."""
        for weight, average in self._averages():
            weight.copy_(average)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Within this context the model has the averages; afterwards its weights again."""
        kept = [(weight, weight.detach().clone()) for weight, _ in self._averages()]
        self.apply()
        try:
            yield
        finally:
            with torch.no_grad():
                for weight, own in kept:
                    weight.copy_(own)


def forget_averages(optimizer: torch.optim.Optimizer) -> None:
    """Remove averages that a loaded state brought into the optimiser: nothing renews them here."""
    for state in optimizer.state.values():
        state.pop(AVERAGE, None)


def averaged_weights(average: WeightAverage | None) -> contextlib.AbstractContextManager[None]:
    """Within this context the model has the averages, if there are any."""
    return contextlib.nullcontext() if average is None else average.in_place()
