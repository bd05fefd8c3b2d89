"""Experts whose weights are stacked: each expert its own, or one set that all share.

The weights of all experts are one parameter, so that under DDP each has a gradient on every rank.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reid.nn.host_reads import HostRead, read_numbers
from reid.nn.towers.block import quick_gelu

Activation = Literal["none", "relu", "gelu", "quick_gelu"]
Init = Literal["conv", "xavier", "adapter", "dead"]


_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor] | None] = {
    "none": None,
    "relu": F.relu,
    "gelu": F.gelu,
    "quick_gelu": quick_gelu,
}


@dataclass(frozen=True)
class ExpertRuns:
    """How many rows each of E experts has, of rows sorted by expert."""

    counts: Tensor  # (E,) int64, on the device of the rows
    known: tuple[int, ...] | None = None  # the same in main memory, where it is known

    def sizes(self) -> list[int]:
        """The same in main memory; what is not known there is asked for, which waits for the device."""
        known = read_numbers(self.counts, HostRead.EXPERT_RUNS) if self.known is None else self.known
        return list(known)


class Experts(nn.Module, ABC):
    """E functions of a token (D -> D), computed for many tokens at a time."""

    count: int

    @abstractmethod
    def grouped(self, rows: Tensor, runs: ExpertRuns) -> Tensor:
        """Rows (n, D) sorted by expert, in runs -> (n, D): one product a run of rows."""

    @abstractmethod
    def dense(self, tokens: Tensor, gates: Tensor) -> Tensor:
        """Every expert on every token: (S, D), gates (S, E) -> sum over experts of gate * output, (S, D)."""


class BottleneckExperts(Experts):
    """down -> activation -> dropout -> up, optionally around a residual; MFRNet's and FlexiReID's experts.

    `init`: "conv" is torch's default for a 1x1 convolution, "xavier" uniform with zero biases, "adapter"
    starts at zero output (up = 0), "dead" is all zeros (parity with public MFRNet only). `shared` keeps one
    set of weights for all experts.
    """

    def __init__(
        self,
        count: int,
        dim: int,
        hidden: int,
        activation: Activation = "none",
        dropout: float = 0.0,
        residual: bool = False,
        shared: bool = False,
        init: Init = "conv",
    ) -> None:
        super().__init__()
        self.count = count
        self.shared = shared
        self.residual = residual
        self.dropout = dropout
        self.activation = _ACTIVATIONS[activation]
        stored = 1 if shared else count
        self.down = nn.Parameter(torch.empty(stored, hidden, dim))
        self.down_bias = nn.Parameter(torch.zeros(stored, hidden))
        self.up = nn.Parameter(torch.empty(stored, dim, hidden))
        self.up_bias = nn.Parameter(torch.zeros(stored, dim))
        with torch.no_grad():
            self._initialise(init, dim, hidden)

    def _initialise(self, init: Init, dim: int, hidden: int) -> None:
        if init == "dead":
            self.down.zero_()
            self.up.zero_()
            return
        if init == "xavier":
            bound = math.sqrt(6 / (dim + hidden))
            self.down.uniform_(-bound, bound)
            self.up.uniform_(-bound, bound)
            return
        self.down.uniform_(-(dim**-0.5), dim**-0.5)
        if init == "adapter":
            self.up.zero_()
            return
        self.down_bias.uniform_(-(dim**-0.5), dim**-0.5)
        self.up.uniform_(-(hidden**-0.5), hidden**-0.5)
        self.up_bias.uniform_(-(hidden**-0.5), hidden**-0.5)

    def grouped(self, rows: Tensor, runs: ExpertRuns) -> Tensor:
        """See Experts. Shared weights take all rows in one product."""
        if self.shared:
            return self._one(rows, self.down[0], self.down_bias[0], self.up[0], self.up_bias[0])
        if len(rows) and runs.known is None and multiplies_runs(rows, self.down.shape[1]):
            return self._in_one_product(rows, runs.counts)
        weights = zip(  # unbind, not indexing: one gradient buffer instead of one an expert
            self.down.unbind(), self.down_bias.unbind(), self.up.unbind(), self.up_bias.unbind(), strict=True
        )
        parts = rows.split(runs.sizes() if len(rows) else [0] * self.count)
        return torch.cat([self._one(part, *each) for part, each in zip(parts, weights, strict=True)])

    def _in_one_product(self, rows: Tensor, counts: Tensor) -> Tensor:
        """The same by products that read the sizes of the runs, (E,), where they are."""
        kind, ends = _product_type(rows), counts.cumsum(0).to(torch.int32)

        def product(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
            each = bias.repeat_interleave(counts, dim=0, output_size=len(x))  # (n, .)
            return F.grouped_mm(x.to(kind), weight.to(kind).transpose(1, 2), offs=ends) + each.to(kind)

        out = product(self._between(product(rows, self.down, self.down_bias)), self.up, self.up_bias)
        return out + rows if self.residual else out

    def _one(self, rows: Tensor, down: Tensor, down_bias: Tensor, up: Tensor, up_bias: Tensor) -> Tensor:
        hidden = self._between(F.linear(rows, down, down_bias))
        out = F.linear(hidden, up, up_bias)
        return out + rows if self.residual else out

    def _between(self, hidden: Tensor) -> Tensor:
        if self.activation is not None:
            hidden = self.activation(hidden)
        return F.dropout(hidden, self.dropout, self.training)

    def dense(self, tokens: Tensor, gates: Tensor) -> Tensor:
        """See Experts. Two products in all: the gates scale the hidden layer."""
        total = gates.sum(1, keepdim=True)  # (S, 1)
        if self.shared:
            out = self._one(tokens, self.down[0], self.down_bias[0], self.up[0], self.up_bias[0])
            return out * total.to(out.dtype)
        hidden = F.linear(tokens, self.down.flatten(0, 1), self.down_bias.flatten())  # (S, E * H)
        hidden = self._between(hidden).unflatten(1, (self.count, -1))
        weighted = (hidden * gates[:, :, None].to(hidden.dtype)).flatten(1)
        up = self.up.transpose(0, 1).flatten(1)  # (D, E * H)
        out = F.linear(weighted, up)
        out = out + gates.to(out.dtype) @ self.up_bias.to(out.dtype)
        return out + tokens * total.to(out.dtype) if self.residual else out


def multiplies_runs(rows: Tensor, hidden: int) -> bool:
    """Whether the device of these rows multiplies runs by sizes that it knows itself: bf16 on late GPUs, and
    "meta", where nothing has a number.
    """
    if rows.is_meta:
        return True
    if rows.shape[1] % 8 or hidden % 8:  # rows of 16 bytes are what its kernels take
        return False
    return rows.is_cuda and _product_type(rows) == torch.bfloat16 and _has_run_products(rows.device)


def _product_type(rows: Tensor) -> torch.dtype:
    """What products of these rows are computed in."""
    device = rows.device.type
    if device != "meta" and torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device)
    return rows.dtype


@lru_cache
def _has_run_products(device: torch.device) -> bool:
    """Tried once: forward and backward of a small one."""
    if torch.cuda.get_device_capability(device) < (9, 0):  # earlier ones copy the sizes to the CPU
        return False
    try:
        x = torch.zeros(16, 16, dtype=torch.bfloat16, device=device, requires_grad=True)
        weight = torch.zeros(2, 16, 16, dtype=torch.bfloat16, device=device, requires_grad=True)
        ends = torch.full((2,), 16, dtype=torch.int32, device=device)
        with torch.enable_grad():
            F.grouped_mm(x, weight.transpose(1, 2), offs=ends).sum().backward()
    except (RuntimeError, NotImplementedError):
        return False
    return True
