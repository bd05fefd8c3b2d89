"""Auxiliary losses of routers, over the tokens of all ranks: balance (importance and load), and entropy."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from reid.nn.distributed import sum_over_ranks
from reid.nn.moe.routing import Routing

LoadOf = Literal["probability", "logit"]


def squared_variation(totals: Tensor) -> Tensor:
    """Squared coefficient of variation of (E,) totals, with unbiased variance; 0 for one expert."""
    if len(totals) < 2:
        return totals.sum() * 0
    return totals.var() / (totals.mean() ** 2 + 1e-10)


def expert_totals(routing: Routing, load_of: LoadOf = "probability") -> tuple[Tensor, Tensor]:
    """Importance and load of the experts over all ranks' tokens, each (E,).

    Importance is the sum of clean probabilities. Load is the smooth number of tokens: the chance, under noise
    of 1 / E, to exceed the last chosen noisy logit (Shazeer et al. 2017). Public MFRNet compares the
    probability with that logit ("probability", its numbers' basis); "logit" compares the logit itself.
    """
    experts = routing.experts
    last = routing.noisy.masked_fill(~routing.wanted, math.inf).amin(1, keepdim=True)
    score = routing.probabilities if load_of == "probability" else routing.logits
    load = torch.special.ndtr((score - last) * experts)
    totals = sum_over_ranks(torch.cat([routing.probabilities.sum(0), load.sum(0)]))
    return totals[:experts], totals[experts:]


def balance_loss(routing: Routing, load_of: LoadOf = "probability") -> Tensor:
    """Half of CV^2(importance) + CV^2(load), MFRNet's auxiliary loss of one MoE call. A scalar."""
    importance, load = expert_totals(routing, load_of)
    return 0.5 * (squared_variation(importance) + squared_variation(load))


def entropy_loss(routing: Routing, valid: Tensor | None = None) -> Tensor:
    """Mean entropy of the clean probabilities in nats, over all ranks' tokens; FlexiReID's adaptive loss.

    `valid` (S,) bool leaves padding out. Between 0 and ln E.
    """
    p = routing.probabilities
    each = -(p * p.clamp_min(1e-12).log()).sum(1)  # (S,)
    weight = torch.ones_like(each) if valid is None else valid.to(each.dtype)
    total = sum_over_ranks(torch.stack([(each * weight).sum(), weight.sum()]))
    return total[0] / total[1].clamp_min(1)
