"""Optimiser groups by parameter name, and the learning-rate schedules."""

from __future__ import annotations

import math
import re
from functools import lru_cache

import torch
from torch import nn

from reid.config import GroupConfig, OptimConfig
from reid.errors import ConfigError

NOISE_SEED = 42
"""Epoch e's draw comes from a generator seeded NOISE_SEED + e, as in the papers' code."""


def build_optimizer(model: nn.Module, config: OptimConfig) -> torch.optim.Optimizer:
    """Adam (coupled L2) or AdamW over the trainable parameters, one group per (lr, weight decay).

    A parameter uses the first row of `groups` whose regular expression occurs in its name, else the base lr.
    Biases use that rate times the `bias_lr_factor` of the row or of the base. Raises ConfigError when a row
    matches no parameter.
    """
    rows = [(re.compile(row.match), row) for row in config.groups]
    used: set[int] = set()
    buckets: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        found = next((i for i, (pattern, _) in enumerate(rows) if pattern.search(name)), None)
        if found is not None:
            used.add(found)
        row = None if found is None else config.groups[found]
        buckets.setdefault(_rates(config, row, name.endswith("bias")), []).append(parameter)
    for i, (_, row) in enumerate(rows):
        if i not in used:
            raise ConfigError(f"train.optim.groups: {row.match!r} matches no trainable parameter.")
    groups = [
        {"params": params, "lr": lr, "peak_lr": lr, "weight_decay": decay}
        for (lr, decay), params in buckets.items()
    ]
    kind = torch.optim.Adam if config.name == "adam" else torch.optim.AdamW
    on_gpu = all(p.device.type == "cuda" for params in buckets.values() for p in params)
    fused = on_gpu if config.fused == "auto" else config.fused
    return kind(groups, lr=config.lr, eps=config.eps, fused=fused or None)  # None: torch's own choice


def _rates(config: OptimConfig, row: GroupConfig | None, bias: bool) -> tuple[float, float]:
    """(lr, weight decay) of a parameter in this row; None is no row."""
    if row is None:
        return config.lr * (config.bias_lr_factor if bias else 1.0), config.weight_decay
    factor = row.bias_lr_factor if bias and row.bias_lr_factor is not None else 1.0
    return row.lr * factor, config.weight_decay if row.weight_decay is None else row.weight_decay


def learning_rate(config: OptimConfig, peak: float, epoch: float, epochs: int) -> float:
    """The schedule's value, without noise, for a group with this peak at `epoch` in [0, epochs].

    Linear warm-up from `warmup_factor` times the peak (or the base lr). Then cosine: over all epochs, not
    shifted by the warm-up, ending at `final_factor` times the base lr (MFRNet's and Signal's shape).
    Multistep: the peak times gamma for every milestone that is reached. Constant: the peak.
    """
    if epoch < config.warmup_epochs:
        start = config.warmup_factor * (peak if config.warmup_reference == "group" else config.lr)
        return start + (peak - start) * epoch / config.warmup_epochs
    if config.schedule == "constant":
        return peak
    if config.schedule == "multistep":
        reached = sum(epoch >= milestone for milestone in config.milestones)
        return float(peak * config.gamma**reached)
    final = min(config.final_factor * config.lr, peak)
    return final + 0.5 * (peak - final) * (1 + math.cos(math.pi * min(epoch / epochs, 1.0)))


@lru_cache(maxsize=4096)
def noise_factor(limit: float, number: int) -> float:
    """1 + the first draw of N(0, 1) below `limit` in size, for the epoch of this number (from 1).

    Between 1 - limit and 1 + limit; 1 for a limit of 0. The same in every run, whatever its seed.
    """
    if not limit:
        return 1.0
    source = torch.Generator().manual_seed(NOISE_SEED + number)
    while True:
        draw = float(torch.randn(1, generator=source))
        if abs(draw) < limit:
            return 1.0 + draw


def set_learning_rates(
    optimizer: torch.optim.Optimizer, config: OptimConfig, position: float, epochs: int
) -> None:
    """Set every group's lr for a step taken `position` epochs after the start, in [0, epochs).

    With `per: epoch`, all steps of the n-th epoch (positions n - 1 to n) have the schedule's value at n.
    Noise is one factor an epoch, for all groups; the last epoch has none.
    """
    number = math.floor(position) + 1  # of the epoch that the step belongs to, from 1
    at = number if config.per == "epoch" else position
    factor = noise_factor(config.noise, number) if number < epochs else 1.0
    for group in optimizer.param_groups:
        group["lr"] = factor * learning_rate(config, group["peak_lr"], at, epochs)
