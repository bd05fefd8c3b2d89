"""Training on nodes that come and go: it goes on from its checkpoint, and ends with the same weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reid.runs.folder import RunFolder
from tests.support.local_cluster import Joined, LocalCluster, local_cluster
from tests.support.tiny_configs import write_yaml
from tests.support.world import World

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    with local_cluster() as nodes:
        yield nodes


def train(cluster: LocalCluster, yaml: str, world: World, *overrides: str) -> Joined:
    modalities = "data.modalities=rgb+nir+sketch+text"
    steps = ("train.steps_per_epoch=30", "train.epochs=5", "train.batch.identities=4", "ray.tell_every_s=1")
    return Joined(
        cluster,
        "jobs.train",
        "--config",
        yaml,
        f"data.shards={world.shards.root}",
        modalities,
        *steps,
        *overrides,
    )


def weights(folder: Path) -> bytes:
    (found,) = (folder / "work/train/tiny").glob("*/weights.safetensors")
    return found.read_bytes()


def test_a_killed_node_is_replaced_by_a_late_one_and_changes_no_bit(
    cluster: LocalCluster, world: World, tmp_path: Path
) -> None:
    first, _ = cluster.add(), cluster.add()
    for name in ("whole", "broken"):
        (tmp_path / name).mkdir()
    two = ("train.workers=2", "train.max_failures=0")
    whole = train(cluster, write_yaml(tmp_path / "whole"), world, *two)
    assert whole.end() == 0, whole.said
    broken = train(cluster, write_yaml(tmp_path / "broken"), world, *two)
    broken.until("train: epoch 2/5")
    cluster.kill(first)
    assert "starting again from the last checkpoint" in broken.until("lost node")
    assert "waiting for 2 workers of {CPU: 1}: the cluster has" in broken.until("waiting for")
    cluster.add()
    broken.until("resuming from")
    assert broken.end() == 0, broken.said
    assert weights(tmp_path / "broken") == weights(tmp_path / "whole")


def test_an_elastic_training_takes_in_a_late_node_and_does_without_a_lost_one(
    cluster: LocalCluster, world: World, tmp_path: Path
) -> None:
    cluster.add()
    elastic = ("train.workers={min: 1, max: 2}", "train.max_failures=0", "train.epochs=12")
    run = train(cluster, write_yaml(tmp_path), world, *elastic)
    run.until("train: 1 of 1 to 2 workers")
    run.until("train: epoch 1/12")
    late = cluster.add()
    run.until("room for 2 workers")
    run.until("train: 2 of 1 to 2 workers")
    run.until("resuming from")
    run.until("train: epoch ")
    cluster.kill(late)
    run.until("lost node")
    run.until("train: 1 of 1 to 2 workers")
    assert run.end() == 0, run.said
    (folder,) = (tmp_path / "work/train/tiny").glob("*/weights.safetensors")
    assert RunFolder.open(str(folder.parent)).info["steps"] == 12 * 30


def test_a_node_that_is_gone_for_good_ends_training_at_the_deadline_and_a_new_one_lets_it_go_on(
    cluster: LocalCluster, world: World, tmp_path: Path
) -> None:
    cluster.add()
    lost = cluster.add()
    arguments = (write_yaml(tmp_path), world, "train.workers=2", "ray.wait_s=5")
    run = train(cluster, *arguments)
    run.until("train: epoch 1/5")
    cluster.kill(lost)
    assert run.end() == 1
    told = run.said[-1]
    for words in ("error: train: no room for 2 workers of {CPU: 1}", "ray.wait_s=5", "0 of 1 CPUs free"):
        assert words.replace("0 of 1", "1 of 1") in told or words in told
    cluster.add()
    again = train(cluster, *arguments)
    assert "epoch" in again.until("resuming from")
    again.until("train: epoch ")
    again.kill()  # the driver's own machine may be the one that is lost
    last = train(cluster, *arguments)
    last.until("resuming from")
    assert last.end() == 0, last.said
