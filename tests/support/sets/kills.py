"""A build that is killed at a write of its choice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.dataset.build import BuildResult
from reid import storage
from reid.config import Config
from tests.support.replace_storage import replace_storage
from tests.support.sets.photos import build_here

Write = Callable[[str, bytes], None]


class Killed(BaseException):
    """Nobody catches it, as nobody catches SIGKILL."""


class Dying:
    """Storage that dies at the n-th write: before it, in the middle of its bytes, or right after it."""

    def __init__(self, write: Write, at: int, when: str) -> None:
        self.write, self.left, self.when = write, at, when

    def __call__(self, uri: str, data: bytes) -> None:
        self.left -= 1
        if self.left == 0 and self.when != "after":
            if self.when == "middle":  # what a local write leaves when it is killed
                path = Path(f"{uri}.{'0' * 32}.partial")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data[: len(data) // 2])
            raise Killed
        self.write(uri, data)
        if self.left == 0:
            raise Killed


def dies(settings: Config, monkeypatch: pytest.MonkeyPatch, at: int, when: str) -> BuildResult | None:
    """A build whose `at`-th write kills it; None when it died."""
    with monkeypatch.context() as patch:
        replace_storage(patch, "write_bytes", Dying(storage.write_bytes, at, when))
        try:
            return build_here(settings)
        except Killed:
            return None
