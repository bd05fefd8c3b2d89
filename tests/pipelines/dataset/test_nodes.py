"""A build on nodes of which one is killed: the same set, and a line that says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.dataset.build import build
from reid.config import load
from reid.data.shards.shard_set import ShardSet
from reid.dataset.stages.running import run_here
from tests.support.local_cluster import Joined, local_cluster
from tests.support.tiny_configs import silent, write_yaml

BIG = ("data.reader.train_identities=120", "data.reader.height=96", "data.reader.width=96")


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_build_goes_on_without_a_killed_node(tmp_path: Path) -> None:
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    with local_cluster() as cluster:
        cluster.add()
        lost = cluster.add()
        yaml = write_yaml(tmp_path / "there")
        run = Joined(cluster, "jobs.build", "--config", yaml, *BIG, "ray.profile=cluster")
        run.until("%)")
        cluster.kill(lost)
        assert run.end() == 0, run.said
    assert any(line.startswith("ray: node ") and line.endswith(" is lost") for line in run.said)
    here = build(load(write_yaml(tmp_path / "here"), BIG), out=silent, run=run_here).shards
    assert ShardSet.open(str(tmp_path / "there/work/shards/tiny")).fingerprint == here.fingerprint
