"""Merging and changing trees of configuration values before they are validated."""

from __future__ import annotations

from typing import Any

from reid.errors import ConfigError

AUTO_PROTOCOL = "auto"
"""As a protocol's name: the labels choose, see `reid.evaluate.protocols.choice`."""
DEFAULT_PROTOCOL = AUTO_PROTOCOL
EXTENDED_PROTOCOL = "cross_camera"
"""What `evaluate.protocol.<field>=value` changes where no protocol was named."""


def merge(base: dict[str, Any], top: dict[str, Any]) -> dict[str, Any]:
    """Deep merge of two mappings; neither is changed.

    Args:
        base: the mapping to start from.
        top: its values win. A `model` or `reader` of another name, and a `protocol` that extends another one,
            replace the whole section.

    >>> merge({"train": {"epochs": 1, "workers": 2}}, {"train": {"epochs": 5}})
    {'train': {'epochs': 5, 'workers': 2}}
    """
    merged = dict(base)
    for key, value in top.items():
        old = merged.get(key)
        if (
            not isinstance(value, dict)
            or not isinstance(old, dict)
            or (key in {"model", "reader"} and value.get("name", old.get("name")) != old.get("name"))
            or (key == "protocol" and value.get("extends", old.get("extends")) != old.get("extends"))
        ):
            merged[key] = value
        else:
            merged[key] = merge(old, value)
    return merged


def assign(tree: dict[str, Any], path: list[str], value: Any, key: str) -> None:
    """Set one value of a tree in place, creating sections on the way.

    Args:
        tree: the tree.
        path: names of the sections and of the field.
        value: the new value.
        key: the dotted field, for messages.

    Raises ConfigError when a section on the way is a plain value.

    >>> tree = {}
    >>> assign(tree, ["train", "epochs"], 3, "train.epochs")
    >>> tree
    {'train': {'epochs': 3}}
    """
    for part in path[:-1]:
        child = tree.get(part)
        if part == "protocol" and not isinstance(child, dict):
            child = {"extends": EXTENDED_PROTOCOL if child in (None, AUTO_PROTOCOL) else child}
        elif child is None:
            child = {}
        elif isinstance(child, str) and part in {"model", "reader"}:
            child = {"name": child}
        elif not isinstance(child, dict):
            raise ConfigError(f"{key}: {part!r} is a value, not a section.")
        child = dict(child)
        tree[part] = child
        tree = child
    tree[path[-1]] = value
