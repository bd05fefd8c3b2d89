"""Batch normalisation of maps over the images of all ranks, on any device.

torch's SyncBatchNorm refuses the CPU and a rank without images. Here two ranks equal one process on the
joined batch: outputs, gradients and running statistics. `local_statistics()` turns it off.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from reid.nn.blockwise import computed_again
from reid.nn.distributed import shares_statistics, world_size
from reid.nn.precision import full_precision


class GlobalBatchNorm2d(nn.BatchNorm2d):
    """(b, C, h, w) -> the same shape and dtype, statistics in float32.

    A rank may have no image, but not all ranks.
    """

    def forward(self, x: Tensor) -> Tensor:
        """On one rank, or in evaluation, torch's own batch norm."""
        if not self.training:
            return super().forward(x)
        if not shares_statistics():
            return self._of_this_rank(x)
        with torch.no_grad():
            mean, var, count = _statistics(x)
            if not computed_again():
                self._remember(mean, var, count)
        out: Tensor = _Normalise.apply(x, self.weight, self.bias, mean, (var + self.eps).rsqrt(), count)
        return out

    def _of_this_rank(self, x: Tensor) -> Tensor:
        if not len(x):
            return x * self.weight[:, None, None] + self.bias[:, None, None]
        if not computed_again() or self.running_mean is None or self.running_var is None:
            return super().forward(x)
        spare = self.running_mean.clone(), self.running_var.clone()  # the real ones have seen this batch
        return F.batch_norm(x, *spare, self.weight, self.bias, training=True, eps=self.eps)

    def _remember(self, mean: Tensor, var: Tensor, count: Tensor) -> None:
        """Running statistics, the variance unbiased, as torch keeps them."""
        if self.num_batches_tracked is None or self.running_mean is None or self.running_var is None:
            return
        self.num_batches_tracked.add_(1)
        rate = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), rate)
        self.running_var.lerp_((var * count / (count - 1).clamp_min(1)).to(self.running_var.dtype), rate)


def _statistics(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean (C,), biased variance (C,) and number of values a channel, over all ranks, in float32.

    Ranks' means and squared deviations are merged (Chan et al. 1979): no difference of large squares.
    """
    channels = x.shape[1]
    own = full_precision(x.new_zeros(2 * channels + 1))
    values = x.numel() // channels
    if values:
        var, mean = torch.var_mean(full_precision(x), dim=(0, 2, 3), correction=0)
        own = torch.cat([mean, var * values, own.new_full((1,), values)])
    parts = [torch.empty_like(own) for _ in range(world_size())]
    dist.all_gather(parts, own)
    means, squares, counts = torch.stack(parts).split([channels, channels, 1], dim=1)  # (world, .) each
    count = counts.sum()
    if count.device.type == "cpu" and not count:  # a GPU would have to be waited for
        raise ValueError("No rank has an image here: there is nothing to normalise.")
    mean = (counts * means).sum(0) / count
    return mean, (squares + counts * (means - mean).square()).sum(0) / count, count


class _Normalise(torch.autograd.Function):
    """The affine normalisation, and its gradient through the statistics of all ranks.

    Ranks' losses add up, as `reid.nn.distributed` has it.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, scale: Tensor, count: Tensor
    ) -> Tensor:
        ctx.save_for_backward(x, weight, mean, scale, count)
        gain = weight * scale
        shift = bias - mean * gain
        return (full_precision(x) * gain[:, None, None] + shift[:, None, None]).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, scale, count = ctx.saved_tensors
        grad = full_precision(grads[0])
        unit = (full_precision(x) - mean[:, None, None]) * scale[:, None, None]
        sums = torch.stack([grad.sum((0, 2, 3)), (grad * unit).sum((0, 2, 3))])  # (2, C) of this rank
        total = sums.clone()
        dist.all_reduce(total)
        centre, slope = (total / count)[:, :, None, None].unbind(0)  # (C, 1, 1)
        back = (grad - centre - unit * slope) * (weight * scale)[:, None, None]
        return back.to(x.dtype), sums[1].to(weight.dtype), sums[0].to(weight.dtype), None, None, None
