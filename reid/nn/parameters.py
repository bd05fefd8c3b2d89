"""How many parameters a module has."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn

from reid.nn.classifier.layer import split_parameters


def parameter_counts(model: nn.Module) -> dict[str, Any]:
    """{"total", "trainable", "by_module": {top-level module: total}}; shared tensors count once.

    The rows of split classifiers on other ranks count, too.
    """
    split = {model.get_parameter(name): rows for name, rows in split_parameters(model).items()}

    def count(parameters: Iterable[nn.Parameter]) -> int:
        return sum(split[p].total * p.shape[1] if p in split else p.numel() for p in parameters)

    by_module = {name: count(child.parameters()) for name, child in model.named_children()}
    own = count(p for _, p in model.named_parameters(recurse=False))
    if own:
        by_module["(own)"] = own
    return {
        "total": count(model.parameters()),
        "trainable": count(p for p in model.parameters() if p.requires_grad),
        "by_module": by_module,
    }
