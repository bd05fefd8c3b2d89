"""How many parameters a module has."""

from __future__ import annotations

from typing import Any

from torch import nn


def parameter_counts(model: nn.Module) -> dict[str, Any]:
    """{"total", "trainable", "by_module": {top-level module: total}}; shared tensors count once."""
    by_module = {name: sum(p.numel() for p in child.parameters()) for name, child in model.named_children()}
    own = sum(p.numel() for _, p in model.named_parameters(recurse=False))
    if own:
        by_module["(own)"] = own
    return {
        "total": sum(p.numel() for p in model.parameters()),
        "trainable": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "by_module": by_module,
    }
