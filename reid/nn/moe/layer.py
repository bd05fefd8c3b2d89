"""The mixture-of-experts layer of every system: router, experts, and three ways to compute the same sum.

`grouped` sorts the (token, expert) pairs by expert and runs one product an expert; `dense` runs every expert
on every token; both are dropless, so a token's output depends on that token alone. `capacity` drops what
exceeds an expert's share, as public MFRNet does, and makes an output depend on its batch: for parity only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn

from reid.nn.distributed import sum_over_ranks
from reid.nn.moe.experts import ExpertRuns, Experts
from reid.nn.moe.routing import Router, Routing

Dispatch = Literal["auto", "grouped", "dense"]


@dataclass(frozen=True)
class MixtureOutput:
    """What a MoE layer gives: tokens of the input's shape, and how they were routed."""

    tokens: Tensor
    routing: Routing

    def stats(self, kinds: Tensor | None = None, names: Sequence[str] = ()) -> dict[str, Tensor]:
        """Scalars over the tokens of all ranks (a collective call, when there are several).

        "load/<e>" share of the assignments, "entropy" of the probabilities in nats, "dead" experts without a
        token; with `kinds` (S,) int64, "tokens/<names[kind]>/<e>" counts.
        """
        return routing_stats(self.routing, kinds, names)


class MoE(nn.Module):
    """Mixture of experts: tokens (..., D) -> MixtureOutput.

    `capacity`: multiple of an even share, or None.
    """

    def __init__(
        self,
        router: Router,
        experts: Experts,
        dispatch: Dispatch = "auto",
        capacity: float | None = None,
    ) -> None:
        super().__init__()
        self.router = router
        self.experts = experts
        self.dispatch = dispatch
        self.capacity = capacity

    def forward(
        self, tokens: Tensor, keys: Tensor | None = None, calls: Sequence[int] | None = None
    ) -> MixtureOutput:
        """`keys` (...) int64 is for hash routing; without it a token's place in its sequence is used.

        `calls` are numbers of tokens, S in all, where this call stands for several: each has its capacity.
        """
        flat = tokens.flatten(0, -2)  # (S, D)
        if keys is None and self.router.config.score == "hash":
            place = torch.arange(tokens.shape[-2], device=tokens.device)
            keys = place.expand(tokens.shape[:-1]).flatten()
        routing = self.router(flat, None if keys is None else keys.flatten())
        if self.capacity is not None:
            bounds = pairwise(accumulate([len(flat)] if calls is None else calls, initial=0))
            routing = Routing.join([routing[a:b].limited(self._limit(b - a)) for a, b in bounds])
        if self._dense():
            combined = dense(flat, routing, self.experts)
        else:
            each = self.router.config.each if self.capacity is None else None
            combined = grouped(flat, routing, self.experts, each)
        return MixtureOutput(combined.view_as(tokens), routing)

    def _limit(self, tokens: int) -> int:
        config = self.router.config
        k = config.top_k if config.select == "top_k" else self.experts.count
        return int((self.capacity or 0) * k * math.ceil(tokens / self.experts.count))

    def _dense(self) -> bool:
        """Of "auto": dense where most experts run anyway."""
        if self.dispatch != "auto":
            return self.dispatch == "dense"
        config = self.router.config
        return config.select != "top_k" or 2 * config.top_k > self.experts.count


def grouped(tokens: Tensor, routing: Routing, experts: Experts, each: int | None = None) -> Tensor:
    """(S, D) -> (S, D): pairs sorted by expert, one product a run, summed back into their tokens.

    `each`: the number of experts that every token goes to, if it is the same; else pairs are counted, for
    which a device is waited for.
    """
    expert, token, runs = _pairs(routing.chosen, each)
    if each == 1:  # sorting is a permutation, undone without adding anything up
        place = torch.empty_like(token).scatter(0, token, torch.arange(len(token), device=token.device))
        rows: Tensor = _Permute.apply(tokens, token, place)
    else:
        rows = tokens[token]
    values = experts.grouped(rows, runs)
    values = values * routing.gates[token, expert][:, None].to(values.dtype)
    if each == 1:
        restored: Tensor = _Permute.apply(values, place, token)
        return restored
    return values.new_zeros(tokens.shape).index_add(0, token, values)


def _pairs(chosen: Tensor, each: int | None) -> tuple[Tensor, Tensor, ExpertRuns]:
    """Expert and token of every pair, (P,) each, sorted by expert, then by token, and the experts' runs."""
    counts = chosen.sum(0)
    if each is None:
        sizes = ExpertRuns(counts).sizes()
        expert, token = torch.nonzero_static(chosen.T, size=sum(sizes)).unbind(1)
        return expert, token, ExpertRuns(counts, tuple(sizes))
    marks = chosen.to(torch.uint8)
    own = marks.argmax(1, keepdim=True) if each == 1 else marks.argsort(dim=1, descending=True, stable=True)
    flat = own[:, :each].flatten()  # (S * each,) experts, token after token
    place = flat.argsort(stable=True)
    return flat[place], place // each, ExpertRuns(counts)


def dense(tokens: Tensor, routing: Routing, experts: Experts) -> Tensor:
    """(S, D) -> (S, D): every expert on every token, those not chosen with gate 0."""
    return experts.dense(tokens, routing.gates)


class _Permute(torch.autograd.Function):
    """Rows in another order; the gradient takes the inverse order instead of a slow scattered sum."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(inverse)
        return rows.index_select(0, order)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (inverse,) = ctx.saved_tensors
        return grads[0].index_select(0, inverse), None, None


def routing_stats(routing: Routing, kinds: Tensor | None, names: Sequence[str]) -> dict[str, Tensor]:
    """See MixtureOutput.stats."""
    with torch.no_grad():
        chosen = routing.chosen.float()
        p = routing.probabilities
        sums = [chosen.sum(0), _entropy(p).sum()[None], chosen.new_full((1,), len(p))]
        if kinds is not None:
            table = chosen.new_zeros(len(names), routing.experts).index_add(0, kinds, chosen)
            sums.append(table.flatten())
        total = sum_over_ranks(torch.cat(sums))
        e = routing.experts
        load, entropy, count = total[:e], total[e], total[e + 1]
        share = load / load.sum().clamp_min(1)
        found = {f"load/{i}": share[i] for i in range(e)}
        found["entropy"] = entropy / count.clamp_min(1)
        found["dead"] = (load == 0).sum().float()
        if kinds is not None:
            for k, row in enumerate(total[e + 2 :].view(len(names), e)):
                found |= {f"tokens/{names[k]}/{i}": row[i] for i in range(e)}
        return found


def _entropy(p: Tensor) -> Tensor:
    return -(p * p.clamp_min(1e-12).log()).sum(1)
