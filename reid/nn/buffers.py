"""Weights that are saved and loaded with a model but neither trained nor counted as its parameters."""

from __future__ import annotations

from torch import nn


def to_buffers(module: nn.Module) -> None:
    """Turn every parameter of a module into a buffer of the same name, in place."""
    for part in module.modules():
        for name, parameter in list(part.named_parameters(recurse=False)):
            delattr(part, name)
            part.register_buffer(name, parameter.detach())
