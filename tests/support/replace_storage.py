"""Replacing a function of `reid.storage` in a test, wherever the package itself calls it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from reid import storage
from reid.storage import files, listing, uploads, uris, walk


def replace_storage(monkeypatch: pytest.MonkeyPatch, name: str, function: Callable[..., Any]) -> None:
    """Let `storage.<name>` be `function`, also for the other functions of storage."""
    for module in (storage, files, listing, uris, uploads, walk):
        if name in vars(module):
            monkeypatch.setattr(module, name, function)
