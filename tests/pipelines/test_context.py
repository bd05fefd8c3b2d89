"""Ray Data as we set it up: a worker that keeps dying ends the work, and no warning is left."""

from __future__ import annotations

import os
import time
import warnings

import pyarrow as pa
import pytest

from pipelines.context import map_blocks

pytestmark = pytest.mark.usefixtures("ray_session")


def double(batch: pa.Table) -> pa.Table:
    return pa.table({"n": [2 * n for n in batch["n"].to_pylist()]})


def die(batch: pa.Table) -> pa.Table:
    os._exit(1)


def test_stages_are_described_without_a_warning_and_in_order() -> None:
    import ray.data

    tables = [pa.table({"n": [n]}) for n in range(8)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = map_blocks(ray.data.from_arrow(tables), double, batch_size=None, num_cpus=1)
    assert [row["n"] for row in dataset.iter_rows()] == [2 * n for n in range(8)]


@pytest.mark.slow
def test_a_worker_that_dies_every_time_ends_the_work() -> None:
    import ray.data
    from ray.exceptions import WorkerCrashedError

    dataset = map_blocks(ray.data.from_arrow(pa.table({"n": [1]})), die, batch_size=None, num_cpus=1)
    began = time.monotonic()
    with pytest.raises(WorkerCrashedError):
        dataset.materialize()
    assert time.monotonic() - began < 120
