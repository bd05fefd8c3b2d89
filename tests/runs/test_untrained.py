"""A model before training takes no memory for its weights, where its constructor allows that."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import reid.runs.untrained
from reid.config import load
from reid.models.base import ModelContext, ReIDModel
from reid.models.registry import build_model
from reid.runs.untrained import untrained_model

BASE = "baseline/synthetic"


def test_weights_are_names_and_shapes_only() -> None:
    assert next(untrained_model(load(BASE)).parameters()).device.type == "meta"


def test_a_model_whose_constructor_reads_values_is_built_for_real(monkeypatch: pytest.MonkeyPatch) -> None:
    def reading(section: Any, context: ModelContext) -> ReIDModel:
        assert float(torch.ones(())) == 1.0  # refused on the meta device
        return build_model(section, context)

    monkeypatch.setattr(reid.runs.untrained, "build_model", reading)
    assert next(untrained_model(load(BASE)).parameters()).device.type == "cpu"
