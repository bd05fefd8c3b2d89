"""The loader's benchmark: what it measures, on few batches."""

from __future__ import annotations

import pytest

from reid.studies.benchmarks.training.loader import loader_rows, waiting_rows


@pytest.mark.slow
def test_every_kind_is_measured_and_processes_have_targets() -> None:
    rows = {row.name: row for row in (*loader_rows(2, steps=12), *waiting_rows(1, steps=12))}
    assert all(row.value is not None and row.value >= 0 for row in rows.values())
    aimed = {name for name, row in rows.items() if row.target is not None}
    assert "loader, 1 processes: work" in aimed
    assert "waiting beside a step of 50 ms, processes" in aimed
    assert not any("threads" in name for name in aimed)
