"""Tasks go to Ray Data in parts, and are made when their part is begun."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest
import ray.data

from pipelines.task_blocks import AT_ONCE, task_blocks


def test_a_part_is_made_when_the_one_before_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []

    def texts() -> Iterator[str]:
        for number in range(2 * AT_ONCE + 1):
            taken.append(str(number))
            yield taken[-1]

    monkeypatch.setattr(ray.data, "from_arrow", lambda tables: tables)
    parts: Iterator[Any] = task_blocks(texts(), "task")
    first = next(parts)
    assert len(first) == len(taken) == AT_ONCE
    assert first[7] == pa.table({"task": ["7"]})
    assert [len(part) for part in parts] == [AT_ONCE, 1]
    assert len(taken) == 2 * AT_ONCE + 1


def test_nothing_to_do_gives_ray_nothing() -> None:
    assert list(task_blocks([], "task")) == []
