"""The classifier of identity heads: a bias-free linear layer that knows its loss and which rows it has."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reid.nn.classifier.initial_weight import draw_rows
from reid.nn.classifier.placement import RowRange, current_placement
from reid.nn.classifier.sampling import local_targets, positions, sample_rows, step_generator
from reid.nn.classifier.split_softmax import split_cross_entropy
from reid.nn.losses.classification import smoothed_cross_entropy
from reid.nn.precision import full_precision, without_autocast

INITIAL_STD = 0.001
"""Standard deviation of initial weights (Luo et al. 2019)."""


class Classifier(nn.Module):
    """Features (B, dim) -> logits or loss over classes, in float32 under autocast too.

    Which rows of the weight it keeps, and how many of them a step compares with, says the placement that is
    current when it is built (`classifiers_placed`); all and all by default.

    >>> layer = Classifier(8, classes=5)
    >>> layer(torch.ones(2, 8)).shape, layer.loss(torch.ones(2, 8), torch.tensor([0, 4])).shape
    (torch.Size([2, 5]), torch.Size([]))
    """

    weight: nn.Parameter

    def __init__(self, dim: int, classes: int) -> None:
        super().__init__()
        placement = current_placement()
        self.rows = placement.rows(classes)
        self.world, self.sampling = placement.world, placement.sampling
        self._place = (0, 0, 0)
        self._draws = 0
        if placement.kept:
            self.weight = nn.Parameter(draw_rows(self.rows, dim, INITIAL_STD))
        else:
            self.register_parameter("weight", None)

    @property
    def split(self) -> bool:
        """Whether other ranks have the other rows."""
        return self.world > 1

    def forward(self, features: Tensor) -> Tensor:
        """Logits (B, rows) of the classes that this rank has."""
        with without_autocast(features.device):
            return F.linear(full_precision(features), self.weight)

    def loss(self, features: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
        """Cross-entropy with label smoothing, mean over the rows; labels (B,) from 0 to classes - 1.

        A split classifier needs the rows of all ranks (`gather_rows`), on every rank.
        """
        sampled = self.training and self.sampling < 1
        if not (self.split or sampled):
            return smoothed_cross_entropy(self(features), labels, smoothing)
        with without_autocast(features.device):
            features = full_precision(features)
            weight: Tensor = self.weight
            targets = local_targets(labels, self.rows.first, len(self.rows))
            if sampled:
                chosen = sample_rows(targets, len(self.rows), self.sampling, self._generator())
                weight, targets = weight.index_select(0, chosen), positions(targets, chosen)
            return split_cross_entropy(features, weight, targets, smoothing, self.world)

    def begin_step(self, seed: int, step: int, number: int) -> None:
        """What the next samples are drawn from; `number` tells a model's classifiers apart."""
        self._place, self._draws = (seed, step, number), 0

    def _generator(self) -> torch.Generator:
        seed, step, number = self._place
        self._draws += 1
        return step_generator(seed, step, number, self._draws, self.rows.first)

    def extra_repr(self) -> str:
        """Shown by print(model)."""
        return f"rows {self.rows.first} to {self.rows.stop} of {self.rows.total}"


def classifiers(model: nn.Module) -> dict[str, Classifier]:
    """The classifiers of a model, by the name of their weight.

    >>> list(classifiers(nn.Sequential(Classifier(8, 5))))
    ['0.weight']
    """
    return {f"{name}.weight": m for name, m in model.named_modules() if isinstance(m, Classifier)}


def split_parameters(model: nn.Module) -> dict[str, RowRange]:
    """The parameters of which this rank has some rows only, by name; no other rank has the same rows."""
    return {name: layer.rows for name, layer in classifiers(model).items() if layer.split}


def begin_step(model: nn.Module, seed: int, step: int) -> None:
    """Before an optimiser step: sampled classes are a function of (seed, step, rank), resumed or not."""
    for number, layer in enumerate(classifiers(model).values()):
        layer.begin_step(seed, step, number)


def embedding_state(model: nn.Module) -> dict[str, Tensor]:
    """The state dict without split classifiers: what embedding needs, the same on every rank."""
    apart = split_parameters(model)
    return {name: x for name, x in model.state_dict().items() if name not in apart}


def load_embedding_state(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load what `embedding_state` gave; split classifiers stay. Raises RuntimeError for any other misfit."""
    kept = {name: x for name, x in model.state_dict().items() if name in split_parameters(model)}
    model.load_state_dict({**state, **kept})
