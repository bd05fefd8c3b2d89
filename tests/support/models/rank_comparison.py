"""What tests of training compare: weights of runs, and a model of the tiny configuration."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from reid.config import Config
from reid.models.base import ReIDModel
from reid.models.registry import build_model
from reid.runs.folder import RunFolder
from reid.runs.identities import LabelMap
from reid.runs.run import model_context

PLAIN = ("train.augment={flip: 0, pad: 0, erase: 0}",)
MEAN_WITH_TEXT = ("data.modalities=rgb+nir+text", "model.fusion=mean", "train.batch.modality_dropout=0.3")


def weights(uri: Path) -> dict[str, Tensor]:
    """The tensors of a run folder."""
    return RunFolder.open(str(uri)).weights()


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    """Whether both hold the same tensors, to the bit."""
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def new_model(config: Config, classes: int = 8) -> ReIDModel:
    """An untrained model for the tiny set."""
    labels = LabelMap(tuple(("tiny", i) for i in range(classes)), (2, 5, 6))
    return build_model(config.model, model_context(config, labels))
