"""What the code of a system computes, as a fingerprint: an edit that changes no number keeps it.

A small model of the configured section takes two optimiser steps on a fixed batch in float64. Its losses,
gradients and vectors agree between machines, numbers of threads and libraries to about twelve digits; five
count. So a comment or a faster way to the same numbers leaves a run its name, and another formula does not.
Not seen: what such a step does not reach (the reading of data, validation, an option for several ranks).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache

import torch
from torch import Tensor

from reid.config import Config, OptimConfig, Plugin, fingerprint, merge
from reid.config.addresses import source_hash
from reid.config.typed import check
from reid.data.batches.batch import Batch
from reid.errors import AnyReIDError
from reid.modality import Subset, parse_subset
from reid.models.base import ModelContext, ReIDModel, Side
from reid.models.registry import build_model, system_module
from reid.nn.distributed import local_statistics
from reid.train.naming.double import in_float64
from reid.train.naming.sample_batch import CAMERAS, HEIGHT, IDENTITIES, WIDTH, described, sample_batch
from reid.train.optimizer import build_optimizer, set_learning_rates

STEPS, EPOCHS = 2, 10
SIDES: tuple[Side, ...] = ("query", "gallery")
SEED = 1
LARGEST = 5_000_000
"""Parameters of the largest model that is run; a larger one is known by its source alone."""
DIGITS, NOTHING = 5, 1e-9


def code_fingerprint(config: Config) -> str:
    """The part of a run's name that stands for the code: from its numbers, or from the source without them.

    Args:
        config: the configuration; its sections `model` and `train.optim` and the modalities count.

    Returns:
        12 hex digits. The same after every edit that leaves the numbers of a small model as they are.
    """
    section = config.model.model_dump_json()
    modalities = tuple(m.value for m in config.data.modalities)
    return _of(section, config.model.name, modalities, _optimiser(config.train.optim), source_of(config))


def source_of(config: Config) -> str:
    """The hash of every line of source that a run of this configuration depends on, for its records."""
    return source_hash(f"reid.models.{config.model.name}", "reid.nn", "reid.train")


def _optimiser(optim: OptimConfig) -> str:
    # Groups name parameters that a small model may not have.
    return optim.model_copy(update={"groups": ()}).model_dump_json()


@lru_cache(maxsize=64)
def _of(section: str, name: str, modalities: tuple[str, ...], optim: str, source: str) -> str:
    config = system_module(name).Config.model_validate_json(section)
    try:
        found = numbers(config, parse_subset(list(modalities)), OptimConfig.model_validate_json(optim))
    except (
        AnyReIDError,
        RuntimeError,
        ValueError,
        TypeError,
    ):  # a system of which no small model can be made
        return source
    return fingerprint([rounded(value) for value in found]) if found else source


def numbers(section: Plugin, modalities: Subset, optim: OptimConfig) -> list[float]:
    """Losses, gradients and vectors of a small model over STEPS optimiser steps; empty for one too large.

    Args:
        section: of the model.
        modalities: of the data.
        optim: of the training, without groups.
    """
    module = system_module(section.name)
    tree = merge(section.model_dump(mode="json"), module.Model.smaller(section))
    small = check(module.Config, tree, "model")
    context = ModelContext(IDENTITIES, CAMERAS, HEIGHT, WIDTH, modalities)
    if _size(small, context) > LARGEST:
        return []
    with in_float64(SEED), local_statistics():
        return list(_numbers(build_model(small, context), sample_batch(modalities), optim))


def _size(section: Plugin, context: ModelContext) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in build_model(section, context).parameters())


def _numbers(model: ReIDModel, batch: Batch, optim: OptimConfig) -> Iterator[float]:
    given = described(batch) if model.auxiliary else batch
    optimizer = build_optimizer(model.train(), optim)
    for step in range(STEPS):
        set_learning_rates(optimizer, optim, EPOCHS * (step + 0.5) / STEPS, EPOCHS)
        yield from (group["lr"] for group in optimizer.param_groups)
        output = model(given)
        yield from (float(loss.detach()) for _, loss in sorted(output.losses.items()))
        optimizer.zero_grad()
        torch.stack(list(output.losses.values())).sum().backward()
        for _, part in model.named_children():
            yield _norm([p.grad for p in part.parameters() if p.grad is not None])
        optimizer.step()
    with torch.no_grad():
        model.eval()
        for side in SIDES:
            subsets = model.supported(side)
            for subset in dict.fromkeys([subsets[0], subsets[-1]]):  # the smallest and the largest
                yield _projected(model.embed(given.only(subset), side))


def _norm(tensors: list[Tensor]) -> float:
    return math.sqrt(sum(float(t.square().sum()) for t in tensors))


def _projected(vectors: Tensor) -> float:
    """One number that every entry takes part in."""
    weights = torch.cos(torch.arange(vectors.numel(), dtype=torch.float64)).reshape(vectors.shape)
    return float((weights * vectors).sum())


def rounded(value: float) -> str:
    """A number by its first DIGITS digits; what rounding leaves of nothing is nothing.

    >>> rounded(0.123456789), rounded(1e-17)
    ('1.2346e-01', '0')
    """
    return "0" if abs(value) < NOTHING else f"{value:.{DIGITS - 1}e}"
