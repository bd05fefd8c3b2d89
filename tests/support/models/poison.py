"""Models of which one batch, or one call, is not finite."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from reid.config import Config, Plugin
from reid.data.batches.batch import Batch
from reid.data.batches.stream import StreamPlace
from reid.data.shards.shard_set import ShardSet
from reid.models.base import ModelContext, ReIDModel
from reid.models.registry import build_model
from reid.runs.identities import training_labels
from reid.train.setup import training_stream

Spoil = Callable[[Tensor], Tensor]


def nan(x: Tensor) -> Tensor:
    """Not a number."""
    return x * torch.nan


def nan_gradient(x: Tensor) -> Tensor:
    """The same values, whose gradient is not a number."""
    return x + torch.sqrt(x.sum() * 0)


def ids_at(config: Config, epoch: int, step: int, rank: int = 0, world: int = 1) -> tuple[Any, ...]:
    """The samples of a batch."""
    shards = ShardSet.open(str(config.data.shards))
    labels, _ = training_labels(shards, config.train.val.fraction, config.seed)
    stream = training_stream(config, shards, labels, place=StreamPlace(config.seed, rank, world))
    return next(iter(stream.epoch(epoch, step + 1, start=step))).sample_id


def poison(
    patch: pytest.MonkeyPatch, ids: tuple[Any, ...], spoil: Spoil = nan, times: int | None = None
) -> None:
    """Spoil what reaches the head when a batch has these samples, the first `times` times."""
    left = [times]

    def build(section: Plugin, context: ModelContext) -> ReIDModel:
        model = build_model(section, context)
        chosen = [False]

        def look(module: nn.Module, given: tuple[Batch]) -> None:
            chosen[0] = given[0].sample_id == ids and left[0] != 0
            if chosen[0] and left[0] is not None:
                left[0] -= 1

        def change(module: nn.Module, given: tuple[Tensor]) -> tuple[Tensor] | None:
            return (spoil(given[0]),) if chosen[0] else None

        model.register_forward_pre_hook(look)
        modules = dict(model.named_modules())
        (modules.get("head.norm") or modules["heads.joint.norm"]).register_forward_pre_hook(change)
        return model

    for place in ("reid.train.loop.build_model", "reid.train.replay.build_model"):
        patch.setattr(place, build)
