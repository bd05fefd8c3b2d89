"""Gradient reversal (Ganin & Lempitsky 2015): a head descends, what feeds it ascends."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class _Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, strength: Tensor) -> Tensor:
        ctx.save_for_backward(strength)
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (strength,) = ctx.saved_tensors
        return -strength.to(grads[0].dtype) * grads[0], None


class GradientReversal(nn.Module):
    """The identity, whose gradient is multiplied by -strength.

    With `ramp_steps` the strength rises from 0 over so many calls in training, as 2 / (1 + exp(-10 p)) - 1 of
    the share p that is done (the schedule of Ganin & Lempitsky). The count is part of the state.
    """

    steps: Tensor

    def __init__(self, strength: float = 1.0, ramp_steps: int = 0) -> None:
        super().__init__()
        self.strength, self.ramp_steps = strength, ramp_steps
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def current(self) -> Tensor:
        """The strength of the next call, a scalar."""
        full = torch.full((), self.strength, device=self.steps.device)
        if not self.ramp_steps:
            return full
        done = (self.steps / self.ramp_steps).clamp(max=1.0)
        return full * (2 / (1 + (-10 * done).exp()) - 1)

    def forward(self, x: Tensor) -> Tensor:
        """`x` itself, of any shape."""
        strength = self.current()
        if self.training:
            self.steps += 1
        out: Tensor = _Reverse.apply(x, strength)
        return out
