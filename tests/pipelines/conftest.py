"""What several pipeline tests share: a built set and runs of it, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from reid.data.shards.shard_set import ShardSet
from reid.runs.run import Run
from tests.support.tiny_configs import built, trained


@pytest.fixture(scope="session")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tiny")


@pytest.fixture(scope="session")
def shards(ray_session: None, workdir: Path) -> ShardSet:
    return built(workdir)


@pytest.fixture(scope="session")
def any_run(shards: ShardSet, workdir: Path) -> Run:
    """Any-to-any, one epoch."""
    return trained(workdir)


@pytest.fixture(scope="session")
def matched_run(shards: ShardSet, workdir: Path) -> Run:
    """Matched, of the initial weights."""
    return trained(workdir, "model.fusion=concat", "data.modalities=rgb+nir+tir", "train.epochs=0")
