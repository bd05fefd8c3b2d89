"""Keeps a step that is not finite from changing anything, without waiting for the device.

The decision is a number on the device, 1 from the first bad step on: the optimiser's kernels read it and do
nothing (`found_inf`, as for gradient scalers), and the buffers that a forward pass changes get their values
back. So the weights stay those before the bad step until the number is looked at, some steps later.

All ranks decide alike, without a collective of their own: a loss that is not finite makes the whole gradient
of its rank so, DistributedDataParallel's mean hands that to all, and the norm of the result decides.
"""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import Tensor, nn

LARGEST = 2**16
"""Values of the largest buffer that is kept: statistics and counters are smaller, frozen weights larger."""


class StepGuard:
    """Takes the optimiser steps of a model, up to the first whose loss or gradient is not finite.

    On a GPU this needs a fused optimiser; any other is asked after every step, which waits for the device.

    >>> model = nn.Linear(2, 1)
    >>> guard = StepGuard(model, torch.optim.Adam(model.parameters()), torch.device("cpu"))
    >>> guard.before()
    >>> guard.backward(model(torch.tensor([[float("nan"), 1.0]])).sum())
    >>> guard.step(torch.nn.utils.get_total_norm([p.grad for p in model.parameters()]))
    >>> guard.noticed(), bool(model.weight.isfinite().all())
    (True, True)
    """

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, device: torch.device) -> None:
        self.optimizer, self.device = optimizer, device
        self.bad = torch.zeros((), device=device)
        fused = all(group.get("fused") for group in optimizer.param_groups)
        self.waits = device.type == "cpu" or not fused
        self._buffers: dict[torch.dtype, list[Tensor]] = defaultdict(list)
        for buffer in model.buffers():
            if buffer.numel() <= LARGEST:
                same = buffer.detach()
                self._buffers[buffer.dtype].append(same.view(-1) if same.is_contiguous() else same)
        self._before: dict[torch.dtype, Tensor] = {}

    def before(self) -> None:
        """Before the forward pass: keep the buffers that it may change."""
        self._before = {kind: _joined(buffers) for kind, buffers in self._buffers.items()}

    def backward(self, loss: Tensor) -> None:
        """Gradients of the loss; none is finite if the loss is not."""
        one = torch.ones_like(loss)
        loss.backward(torch.where(torch.isfinite(loss), one, one * torch.nan))

    def step(self, norm: Tensor) -> None:
        """Take the optimiser's step unless this one, or one before it, is bad; `norm`: of the gradient."""
        self.bad = torch.maximum(self.bad, (~torch.isfinite(norm)).to(self.bad))
        if self.waits:
            if self.bad:
                self._restore()
            else:
                self.optimizer.step()
            return
        self.optimizer.found_inf = self.bad  # type: ignore[attr-defined]
        self.optimizer.step()
        del self.optimizer.found_inf  # type: ignore[attr-defined]
        self._restore()

    def noticed(self) -> bool:
        """Whether a bad step is known already; on a GPU that is only known when numbers are fetched."""
        return self.device.type == "cpu" and bool(self.bad)

    @torch.no_grad()
    def _restore(self) -> None:
        """Give buffers their values of before the forward pass if a step is bad."""
        for kind, buffers in self._buffers.items():
            values = torch.where(self.bad > 0, self._before[kind], _joined(buffers))
            for buffer, part in zip(buffers, values.split([b.numel() for b in buffers]), strict=True):
                buffer.copy_(part.view_as(buffer))


def _joined(buffers: list[Tensor]) -> Tensor:
    return torch.cat([buffer if buffer.dim() == 1 else buffer.reshape(-1) for buffer in buffers])
