"""A configuration's model before training: for its names and abilities, not for its vectors."""

from __future__ import annotations

import torch

from reid.config import Config
from reid.models.base import ModelContext, ReIDModel
from reid.models.registry import build_model


def untrained_model(config: Config) -> ReIDModel:
    """The model of a configuration, without memory for its weights where that is possible.

    Raises ConfigError when the model section does not fit the data section.
    """
    data = config.data
    context = ModelContext(2, 2, data.height, data.width, data.modalities)
    try:
        with torch.device("meta"):
            return build_model(config.model, context)
    except RuntimeError:  # its constructor reads values
        return build_model(config.model, context)
