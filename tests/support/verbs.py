"""What a test that calls a verb gives and gets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Verb = Callable[..., None]


@dataclass(frozen=True)
class Outcome:
    """Exit code and what was printed."""

    code: int
    out: str
    err: str


Call = Callable[..., Outcome]
