"""A row of a table that lists files, wherever it comes from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class ListedRow:
    """A row that is not blank: its last line in the file, and its stripped cells by column."""

    line: int
    cells: dict[str, str]
    overflow: bool
    """It has more cells than the header."""


class ListedRows(Protocol):
    """Rows that may lie in memory or in a file."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[ListedRow]: ...
