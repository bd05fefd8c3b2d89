"""The registry of systems: every folder or file of `reid.models` is one, under its own name."""

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
    """Import the module of a system; it defines `Config` and `Model`.

    Args:
        name: one of `model_names()`.

    Raises ModuleNotFoundError for another name.

    >>> system_module("baseline").Config().name
    'baseline'
    """
    return importlib.import_module(f"{SYSTEMS}.{name}")


def build_model(section: Plugin, context: ModelContext) -> ReIDModel:
    """Build the model that a configuration's `model` section names.

    Args:
        section: the validated section (`config.model`).
        context: classes, cameras, image size and modalities of the data.

    Returns:
        The model on the CPU with random weights; `load_pretrained()` loads the configured ones.

    Raises ConfigError when the section does not fit the data.

    >>> from reid.modality import Modality
    >>> from reid.models.base import ModelContext
    >>> from reid.models.baseline import Config
    >>> tower = {"arch": None, "patch": 8, "width": 16, "layers": 1, "heads": 2, "dim": 8}
    >>> context = ModelContext(10, 2, 16, 16, (Modality.RGB,))
    >>> build_model(Config.model_validate({"tower": tower}), context).dim
    8
    """
    model: ReIDModel = system_module(section.name).Model(section, context)
    return model


def model_names() -> list[str]:
    """The names that `model.name` may have, in alphabetical order.

    >>> "mfrnet" in model_names()
    True
    """
    return plugin_names(SYSTEMS)


def suggest_systems(query: Subset, gallery: Subset) -> str:
    """List the systems that can compare two subsets, as the end of an error message.

    Args:
        query, gallery: the two subsets in canonical order.

    Returns:
        " Systems that can, trained with these modalities: ...", or "" when none can.

    >>> from reid.modality import parse_subset
    >>> "baseline with fusion: mean" in suggest_systems(parse_subset("sketch"), parse_subset("rgb"))
    True
    """
    able = {name: system_module(name).Model.answers(query, gallery) for name in model_names()}
    systems = [f"{name} with {how}" if how else name for name, how in able.items() if how is not None]
    return f" Systems that can, trained with these modalities: {'; '.join(systems)}." if systems else ""
