"""Stopping before the last epoch, when validations do not get better (`train.stop_early`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist

from reid.config.sections.training.averaging import StopEarlyConfig
from reid.errors import ConfigError
from reid.nn.distributed import world_size


def why_stopped(history: Sequence[Mapping[str, Any]], settings: StopEarlyConfig | None) -> str | None:
    """Why a run with these epochs stops; None while it goes on. The same for a run that was resumed.

    A validation is better when it exceeds the best one so far by more than `min_delta`. Raises ConfigError
    when validations have no such metric.

    >>> epochs = [{"epoch": i, "val/mAP": x} for i, x in enumerate([0.5, 0.6, 0.6, 0.59], 1)]
    >>> why_stopped(epochs, StopEarlyConfig(patience=3)) is None
    True
    >>> why_stopped(epochs, StopEarlyConfig(patience=2))
    'val/mAP was 0.6 after epoch 2 and not better in 2 validations since (train.stop_early)'
    """
    if settings is None:
        return None
    name, best, place, waited = settings.metric, float("-inf"), 0, 0
    for metrics in history:
        if name not in metrics:
            known = [key for key in metrics if key.startswith(("val/mAP", "val/R1"))]
            if known:
                raise ConfigError(
                    f"train.stop_early.metric: {name!r} is not measured; known: {', '.join(known)}."
                )
            continue
        if metrics[name] > best + settings.min_delta:
            best, place, waited = metrics[name], metrics["epoch"], 0
        else:
            waited += 1
        if waited >= settings.patience:
            return (
                f"{name} was {best:.4g} after epoch {place} and not better in {waited} validations since "
                "(train.stop_early)"
            )
    return None


def stops(
    history: Sequence[Mapping[str, Any]], settings: StopEarlyConfig | None, device: torch.device
) -> bool:
    """Whether training stops, on every rank: rank 0 decides for all."""
    if settings is None:
        return False
    flag = torch.tensor(int(why_stopped(history, settings) is not None), device=device)
    if world_size() > 1:
        dist.broadcast(flag, 0)
    return bool(flag)
