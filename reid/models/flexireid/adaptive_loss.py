"""FlexiReID's adaptive loss, and the routers' statistics of a training step, in one sum over all ranks.

The paper's loss is the entropy of the whole softmax. It does not give the reduction: here the mean over a
stream's units without padding, then over layers and streams, so that depth does not change it: 0 to ln E.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from reid.data.batches.host_labels import placed
from reid.models.flexireid.stream_encoder import AdapterUse
from reid.nn.distributed import sum_over_ranks

Reduction = Literal["mean", "sum_layers"]


@dataclass(frozen=True)
class RouterTotals:
    """Sums over the units of all ranks, a row a use."""

    uses: Sequence[AdapterUse]
    chosen: Tensor  # (n, E) units that went to an expert
    entropy: Tensor  # (n,) nats, with gradient
    units: Tensor  # (n,)

    @staticmethod
    def of(uses: Sequence[AdapterUse]) -> RouterTotals:
        """Sums over all ranks.

        Every rank must call it with the same uses in the same order; some may have no units.
        """
        table = sum_over_ranks(torch.stack([_sums(use) for use in uses]))
        return RouterTotals(uses, table[:, :-2].detach(), table[:, -2], table[:, -1].detach())

    def loss(self, reduction: Reduction) -> Tensor:
        """The mean entropy over layers and streams with units; "sum_layers": the mean over streams of sums
        over layers.
        """
        each = self.entropy / self.units.clamp_min(1)  # (n,)
        there = (self.units > 0).float()
        total = (each * there).sum()
        if reduction == "mean":
            return total / there.sum().clamp_min(1)
        layers = Counter(use.stream for use in self.uses)
        share = placed(torch.tensor([1 / layers[use.stream] for use in self.uses]), there.device)
        return total / (there * share).sum().clamp_min(1e-6)

    def stats(self) -> dict[str, Tensor | float]:
        """Scalars. "experts/<stream>": chosen a unit; "entropy/<stream>" in nats; of a tower's layers
        "<tower>/load/<e>", the share of the assignments, and "<tower>/dead", experts without a unit;
        "<tower><layer>/experts".
        """
        found: dict[str, Tensor | float] = {}
        taken, entropy, units = self.chosen.sum(1), self.entropy.detach(), self.units
        for stream in dict.fromkeys(use.stream for use in self.uses):
            rows = [i for i, use in enumerate(self.uses) if use.stream == stream]
            many = _sum_of(units, rows).clamp_min(1)
            found[f"experts/{stream}"] = _sum_of(taken, rows) / many
            found[f"entropy/{stream}"] = _sum_of(entropy, rows) / many
        for tower in dict.fromkeys(use.tower for use in self.uses):
            layers = dict.fromkeys(use.layer for use in self.uses if use.tower == tower)
            load, dead = torch.zeros_like(self.chosen[0]), torch.zeros_like(self.units[0])
            for layer in layers:
                rows = [i for i, use in enumerate(self.uses) if (use.tower, use.layer) == (tower, layer)]
                own = _sum_of(self.chosen, rows)  # (E,)
                load, dead = load + own, dead + (own == 0).sum()
                found[f"{tower}{layer}/experts"] = own.sum() / _sum_of(units, rows).clamp_min(1)
            share = load / load.sum().clamp_min(1)
            found |= {f"{tower}/load/{e}": share[e] for e in range(len(share))}
            found[f"{tower}/dead"] = dead
        return found


def _sum_of(x: Tensor, rows: Sequence[int]) -> Tensor:
    """The sum of some entries of the first axis; a list as an index would wait for a device."""
    return torch.stack([x[i] for i in rows]).sum(0)


def _sums(use: AdapterUse) -> Tensor:
    """(E + 2,) chosen, entropy and number of the valid units."""
    p = use.routing.probabilities
    each = -(p * p.clamp_min(1e-12).log()).sum(1)  # (S,)
    weight = torch.ones_like(each) if use.valid is None else use.valid.to(each.dtype)
    chosen = (use.routing.chosen * weight[:, None]).sum(0)
    return torch.cat([chosen, torch.stack([(each * weight).sum(), weight.sum()])])
