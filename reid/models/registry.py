"""The registry of systems: who there is, by the name of their folder; nothing is listed by hand."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

from reid.config import Plugin, plugin_names
from reid.modality import Subset

if TYPE_CHECKING:  # systems build on the base, which asks the registry
    from reid.models.base import ModelContext, ReIDModel

SYSTEMS = "reid.models"


def system_module(name: str) -> ModuleType:
    """The folder or file of a system; it has `Config` and `Model`."""
    return importlib.import_module(f"{SYSTEMS}.{name}")


def build_model(section: Plugin, context: ModelContext) -> ReIDModel:
    """The model that a config's `model` section names, for the given data."""
    model: ReIDModel = system_module(section.name).Model(section, context)
    return model


def model_names() -> list[str]:
    """Names that `model.name` may have."""
    return plugin_names(SYSTEMS)


def suggest_systems(query: Subset, gallery: Subset) -> str:
    """ " Systems that can answer this …: a; b." for the end of a message; "" when none does."""
    able = {name: system_module(name).Model.answers(query, gallery) for name in model_names()}
    told = [f"{name} with {how}" if how else name for name, how in able.items() if how is not None]
    return f" Systems that can, trained with these modalities: {'; '.join(told)}." if told else ""
