"""A setting that was chosen for a data set, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Setting:
    """A field of the configuration, its value, and one line for the user that says why.

    >>> Setting("data.height", 64, "pictures are as tall as wide").tree
    {'data': {'height': 64}}
    """

    field: str
    value: Any
    why: str | None = None

    @property
    def tree(self) -> dict[str, Any]:
        """The setting as a nested mapping."""
        tree: Any = self.value
        for key in reversed(self.field.split(".")):
            tree = {key: tree}
        return dict(tree)
