"""Cross-entropy with label smoothing where each rank has the logits of its own classes only.

With logits z (B, C) whose columns are spread over the ranks, a row's loss is
log sum exp(z) - (1 - e) z[target] - e mean(z): a maximum and three sums over ranks, of B numbers each. No
rank ever has (B, C) numbers. (Model-parallel softmax, as in ArcFace's and Megatron's training.)
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def split_cross_entropy(
    features: Tensor, weight: Tensor, targets: Tensor, smoothing: float, world: int
) -> Tensor:
    """The mean loss over the rows, the same on every rank.

    Args:
        features: (B, D), the rows of all ranks, on every rank (`gather_rows`).
        weight: (c, D), this rank's classes; c may differ between ranks and be 0.
        targets: (B,) positions among this rank's classes, -1 for a class of another rank.
        smoothing: e in [0, 1).
        world: ranks that have classes; 1 calls no collective.

    The gradient of `weight` is that of one process. The gradient of `features` is this rank's part of it,
    times `world`: `gather_rows` sums the parts over ranks in its backward pass, and DDP averages what
    parameters got in between. So features must come from `gather_rows` if there are ranks.
    """
    loss: Tensor = _SplitCrossEntropy.apply(features, weight, targets, smoothing, world)
    return loss


class _SplitCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, features: Tensor, weight: Tensor, targets: Tensor, smoothing: float, world: int
    ) -> Tensor:
        rows, classes = len(features), len(weight)
        logits = features @ weight.T  # (B, c)
        peak = logits.amax(1) if classes else logits.new_full((rows,), -torch.inf)
        if world > 1:
            dist.all_reduce(peak, dist.ReduceOp.MAX)
        sums = logits.new_zeros(3 * rows + 1)
        sums[-1] = classes
        if classes:
            own = logits.gather(1, targets.clamp_min(0)[:, None])[:, 0]
            sums[:rows] = torch.where(targets < 0, 0, own)
            sums[rows : 2 * rows] = logits.sum(1)
            logits = logits.sub_(peak[:, None]).exp_()
            sums[2 * rows : -1] = logits.sum(1)
        if world > 1:
            dist.all_reduce(sums)
        picked, whole, scale = sums[:-1].view(3, rows)
        total = sums[-1]
        ctx.smoothing, ctx.world = smoothing, world
        ctx.save_for_backward(features, weight, targets, logits.div_(scale[:, None]), total)
        losses: Tensor = peak + scale.log() - (1 - smoothing) * picked - smoothing * whole / total
        return losses.mean()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        features, weight, targets, probabilities, total = ctx.saved_tensors
        back = probabilities - ctx.smoothing / total  # (B, c)
        if len(weight):
            hit = (targets >= 0).to(back.dtype) * (1 - ctx.smoothing)
            back.scatter_add_(1, targets.clamp_min(0)[:, None], -hit[:, None])
        back *= grads[0] / len(features)
        return ctx.world * (back @ weight), back.T @ features, None, None, None
