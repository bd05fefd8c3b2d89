"""A configuration as YAML in which comments say why."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from reid.config import strict_yaml

_WIDTH = 100


def yaml_text(tree: Mapping[str, Any], reasons: Mapping[str, str], head: Sequence[str] = ()) -> str:
    """The text of a configuration file.

    Args:
        tree: what the file says, section by section.
        reasons: dotted field -> the comment above it.
        head: comment lines at the top.

    >>> print(yaml_text({"data": {"height": 64}}, {"data.height": "as tall as wide"}), end="")
    data:
      # as tall as wide
      height: 64
    """
    lines = [f"# {line}".rstrip() for line in head]
    return "\n".join([*lines, *_lines(tree, reasons, "", 0)]) + "\n"


def _lines(tree: Mapping[str, Any], reasons: Mapping[str, str], above: str, depth: int) -> list[str]:
    lines: list[str] = []
    indent = "  " * depth
    for key, value in tree.items():
        field = f"{above}{key}"
        if field in reasons:
            wrapped = textwrap.wrap(reasons[field], _WIDTH - len(indent), break_on_hyphens=False)
            lines += [f"{indent}# {line}" for line in wrapped]
        if isinstance(value, Mapping) and any(name.startswith(f"{field}.") for name in reasons):
            lines.append(f"{indent}{key}:")
            lines += _lines(value, reasons, f"{field}.", depth + 1)
        else:
            text = strict_yaml.dump({key: value})
            lines += [f"{indent}{line}" for line in text.splitlines()]
    return lines
