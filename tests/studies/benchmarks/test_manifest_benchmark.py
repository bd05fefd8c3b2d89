"""The manifest benchmark: every step works on the set that it published, and memory follows identities."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from numpy.typing import NDArray

from reid.data.batches.row_group_index import GroupIndex
from reid.data.batches.samplers import sampler_of
from reid.data.shards.shard_set import ShardSet
from reid.runs.identities import training_labels
from reid.studies.benchmarks import manifest
from reid.studies.benchmarks.manifest import STEPS, manifest_rows
from reid.studies.benchmarks.synthetic_manifest import SUBSETS, synthetic_set

CAPTURES, IDENTITIES = 100_000, 5_000
BYTES = 100
"""Of an identity, in all arrays that a rank holds of it."""


def test_the_set_has_these_captures_in_whole_row_groups(tmp_path: Path) -> None:
    synthetic_set(str(tmp_path), CAPTURES, IDENTITIES)
    shards = ShardSet.open(str(tmp_path))
    assert len(shards.identities("train")) == IDENTITIES
    assert shards.rows("train") == pytest.approx(CAPTURES, rel=0.02)
    groups = shards.groups("train")
    assert sum(len(group.identities) for group in groups) == IDENTITIES
    assert [group.index for group in groups if group.file == groups[0].file] == list(range(8))


def test_what_a_rank_holds_is_some_bytes_an_identity(tmp_path: Path) -> None:
    synthetic_set(str(tmp_path), CAPTURES, IDENTITIES)
    shards = ShardSet.open(str(tmp_path))
    labels, _ = training_labels(shards, 0.0, seed=0)
    index = GroupIndex(shards, "train", labels.labels, sampler_of(manifest._BATCH, SUBSETS[2]))
    table = shards.index("train")
    columns: list[NDArray[Any]] = [table.dataset, table.pid, table.rows, table.shard, table.group]
    columns += [table.starts, table.subset, table.counts]
    held = [*columns, labels.classes.pid, index.label, index.rows, index.chunks]
    assert sum(column.nbytes for column in held) < BYTES * IDENTITIES


@pytest.mark.parametrize(
    "step", [name for name in STEPS if name.startswith(("publish", "statistics", "plan"))]
)
def test_steps_that_begin_with_nothing_run_alone(tmp_path: Path, step: str) -> None:
    STEPS[step](str(tmp_path), 2_000, 100)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_each_step_is_measured_in_a_process_of_its_own() -> None:
    rows = list(manifest_rows(200_000, 10_000))
    assert [row.name.removesuffix(", memory") for row in rows[::2]] == list(STEPS)
    assert all(row.ok for row in rows[::2]), "in under 4 GiB"
