"""Strict YAML: exponents are numbers (1e-3), and a key may occur only once."""

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


class _Dumper(yaml.SafeDumper):
    """SafeDumper whose text `parse` reads as what it was, e.g. '1e-3' in quotes when it is a string."""

    def ignore_aliases(self, data: Any) -> bool:
        return True  # a value that occurs twice is written twice


def _sequence(dumper: _Dumper, values: list[Any] | tuple[Any, ...]) -> yaml.Node:
    plain = not any(isinstance(v, dict | list | tuple) or " " in str(v) for v in values)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", values, flow_style=plain)


_Dumper.add_representer(list, _sequence)
_Dumper.add_representer(tuple, _sequence)
for _kind in (_Loader, _Dumper):
    _kind.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"^[-+]?(?:\d+\.?\d*|\.\d+)[eE][-+]?\d{1,3}$"),
        list("-+.0123456789"),
    )


def parse(text: str) -> Any:
    """The value of a YAML document. Raises yaml.YAMLError."""
    return yaml.load(text, _Loader)


def dump(value: Any) -> str:
    """YAML text that `parse` reads as the same value: keys keep their order, plain lists take one line."""
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    return text
