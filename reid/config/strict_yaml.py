"""Strict YAML: an exponent is a number (1e-3), and a key may occur only once."""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    """SafeLoader without YAML 1.1's two surprises."""


def _mapping(loader: _Loader, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
    seen = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, Hashable):
            continue  # refused below
        if key in seen:
            line = key_node.start_mark.line + 1
            raise yaml.YAMLError(f"key {key!r} occurs twice (line {line})")
        seen.add(key)
    return dict(yaml.SafeLoader.construct_mapping(loader, node, deep=True))


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:\d+\.?\d*|\.\d+)[eE][-+]?\d{1,3}$"),
    list("-+.0123456789"),
)


def parse(text: str) -> Any:
    """The value of a YAML document. Raises yaml.YAMLError."""
    return yaml.load(text, _Loader)
