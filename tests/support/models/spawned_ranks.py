"""Starts a function as several ranks, and ends them where they wait for each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from torch import multiprocessing

LIMIT_S = 500


def spawn_ranks(function: Callable[..., None], arguments: tuple[Any, ...], world: int = 2) -> None:
    """Run `function(rank, *arguments)` in `world` processes to its end; an error of one is raised here."""
    context = multiprocessing.spawn(function, arguments, nprocs=world, join=False)
    try:
        for _ in range(LIMIT_S // 5):
            if context.join(timeout=5):
                break
        else:
            pytest.fail("the ranks wait for each other: their collectives do not pair up")
    finally:
        for process in context.processes:
            if process.is_alive():
                process.kill()
