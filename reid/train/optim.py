"""Optimiser groups by parameter name, and the warm-up cosine schedule."""

from __future__ import annotations

import math
import re

import torch
from torch import nn

from reid.config import OptimConfig
from reid.errors import ConfigError


def build_optimizer(model: nn.Module, config: OptimConfig) -> torch.optim.Optimizer:
    """Adam (coupled L2) or AdamW over the trainable parameters, one group per (lr, weight decay).

    A parameter takes the first `groups` row whose regex is found in its name; the base lr otherwise, times
    `bias_lr_factor` for biases. Raises ConfigError when a row matches nothing (a typing mistake).
    """
    rows = [re.compile(row.match) for row in config.groups]
    used = [False] * len(rows)
    buckets: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        lr = config.lr * (config.bias_lr_factor if name.endswith("bias") else 1.0)
        decay = config.weight_decay
        for i, pattern in enumerate(rows):
            if pattern.search(name):
                used[i] = True
                lr = config.groups[i].lr
                row_decay = config.groups[i].weight_decay
                decay = decay if row_decay is None else row_decay
                break
        buckets.setdefault((lr, decay), []).append(parameter)
    for row, hit in zip(config.groups, used, strict=True):
        if not hit:
            raise ConfigError(f"train.optim.groups: {row.match!r} matches no trainable parameter.")
    groups = [
        {"params": params, "lr": lr, "peak_lr": lr, "weight_decay": decay}
        for (lr, decay), params in buckets.items()
    ]
    kind = torch.optim.Adam if config.name == "adam" else torch.optim.AdamW
    return kind(groups, lr=config.lr)


def learning_rate(config: OptimConfig, peak: float, epoch: float, epochs: int) -> float:
    """The lr of a group with this peak at fractional `epoch` in [0, epochs].

    Linear warm-up from `warmup_factor` times the peak (or the base lr), then a cosine over all epochs that
    ends at `final_factor` times the base lr (MFRNet's and Signal's shape, without their noise).
    """
    if epoch < config.warmup_epochs:
        start = config.warmup_factor * (peak if config.warmup_reference == "group" else config.lr)
        return start + (peak - start) * epoch / config.warmup_epochs
    if config.schedule == "constant":
        return peak
    final = min(config.final_factor * config.lr, peak)
    return final + 0.5 * (peak - final) * (1 + math.cos(math.pi * min(epoch / epochs, 1.0)))


def set_learning_rates(
    optimizer: torch.optim.Optimizer, config: OptimConfig, epoch: float, epochs: int
) -> None:
    """Apply the schedule to every group."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(config, group["peak_lr"], epoch, epochs)
