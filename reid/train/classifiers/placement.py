"""Where the classifiers of a training are, and what follows for DistributedDataParallel and clipping."""

from __future__ import annotations

from collections.abc import Sequence

import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from reid.config import TrainConfig
from reid.nn.classifier.layer import split_parameters
from reid.nn.classifier.placement import ClassifierPlacement
from reid.nn.distributed import rank, world_size

DDP_IGNORES = "_ddp_params_and_buffers_to_ignore"
"""The attribute of a module in which DistributedDataParallel looks for names to leave alone."""


def classifier_placement(config: TrainConfig, identities: int) -> ClassifierPlacement:
    """How this rank's classifiers are built, for so many training identities."""
    split = config.classifier.splits(identities, world_size(), config.global_statistics)
    here = (rank(), world_size()) if split else (0, 1)
    return ClassifierPlacement(*here, sampling=config.classifier.sampling)


def leave_split_parameters_alone(model: nn.Module) -> None:
    """Before a model is wrapped: DistributedDataParallel neither compares, copies nor averages split weights.

    Their gradients are already those of the rows of all ranks.
    """
    apart = list(split_parameters(model))
    if apart:
        setattr(model, DDP_IGNORES, apart)


def clip_gradients(model: nn.Module, limit: float | None) -> Tensor:
    """The norm of the whole gradient, before the gradients are scaled to `limit` (None: they are not).

    Rows that are split over ranks count once each. A scalar on the device, equal on all ranks.

    >>> layer = nn.Linear(2, 1, bias=False)
    >>> layer.weight.grad = torch.tensor([[3.0, 4.0]])
    >>> clip_gradients(layer, 1.0), layer.weight.grad
    (tensor(5.), tensor([[0.6000, 0.8000]]))
    """
    apart = split_parameters(model)
    named = {name: p for name, p in model.named_parameters() if p.grad is not None}
    norm = _norm([p for name, p in named.items() if name not in apart])
    if apart:
        squares = _norm([named[name] for name in apart if name in named]).square().to(norm)
        dist.all_reduce(squares)
        norm = (norm.square() + squares).sqrt()
    if limit is not None:
        clip_grads_with_norm_(named.values(), limit, norm)
    return norm


def _norm(parameters: Sequence[nn.Parameter]) -> Tensor:
    return get_total_norm([p.grad for p in parameters if p.grad is not None])
