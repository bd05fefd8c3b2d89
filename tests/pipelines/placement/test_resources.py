"""What can never fit is refused at once; what may come is not."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ray.core.generated import autoscaler_pb2

from pipelines.ablate import ablate_runs, plan_ablation, prepare
from pipelines.dataset.build import build
from pipelines.evaluation.evaluate import evaluate_run
from pipelines.index import index_run
from pipelines.placement.resources import Cluster, NodeKind, Request, check, look
from pipelines.training.train import train_run
from pipelines.tune import tune_runs
from reid.data.shards.shard_set import ShardSet
from reid.errors import ConfigError
from reid.runs.run import Run
from tests.support.sets.builds import made_up
from tests.support.sets.photos import config as photo_config
from tests.support.sets.photos import photos
from tests.support.tiny_configs import config_of, silent

EIGHTS = Cluster(nodes=[{"CPU": 8.0}, {"CPU": 8.0}], free=[{}, {"CPU": 8.0}])
GPU_NODE = {"CPU": 4.0, "GPU": 2.0}


def workers(count: int, cpus: float, gpus: float = 0) -> Request:
    fields = {"train.workers": count, "train.cpus_per_worker": cpus}
    return Request("workers", count, {"CPU": cpus, "GPU": gpus}, fields)


def refusal(*requests: Request, cluster: Cluster, together: bool = True) -> str:
    with pytest.raises(ConfigError) as caught:
        check(requests, together, cluster)
    return str(caught.value)


def test_a_process_lies_on_one_node() -> None:
    check([workers(2, 8)], cluster=EIGHTS)
    told = refusal(workers(1, 9), cluster=EIGHTS)
    for words in (
        "train.workers=1",
        "train.cpus_per_worker=9",
        "1 workers of {CPU: 9}",
        "2 nodes of {CPU: 8}",
    ):
        assert words in told
    assert "at most 2 can ever fit" in refusal(workers(3, 5), cluster=EIGHTS)


def test_what_others_hold_is_no_reason_to_refuse() -> None:
    check([workers(16, 1)], cluster=Cluster(nodes=[{"CPU": 16.0}], free=[{}]))


def test_requests_that_take_turns_need_not_fit_together() -> None:
    two = [workers(1, 8), workers(2, 8)]
    check(two, together=False, cluster=EIGHTS)
    assert "together 24 CPUs" in refusal(*two, cluster=EIGHTS)


def test_parts_of_a_gpu_do_not_add_up_over_gpus_of_other_nodes() -> None:
    check([workers(4, 1, 0.5)], cluster=Cluster(nodes=[GPU_NODE], free=[GPU_NODE]))
    assert "at most 4" in refusal(workers(5, 0.5, 0.5), cluster=Cluster(nodes=[GPU_NODE], free=[]))


def test_nodes_that_an_autoscaler_declares_count() -> None:
    scaled = Cluster(EIGHTS.nodes, EIGHTS.free, kinds=[NodeKind(GPU_NODE, 3)])
    check([workers(6, 2, 1)], cluster=scaled)
    told = refusal(workers(7, 1, 1), cluster=scaled)
    assert "an autoscaler of at most 3 nodes of {CPU: 4, GPU: 2}" in told
    check([workers(1000, 4, 1)], cluster=Cluster([], [], kinds=[NodeKind(GPU_NODE, math.inf)]))
    limited = Cluster([], [], kinds=[NodeKind(GPU_NODE, math.inf)], limits={"GPU": 4})
    assert "at most 4" in refusal(workers(5, 1, 1), cluster=limited)
    standing = Cluster([GPU_NODE], [], kinds=[NodeKind(GPU_NODE, 2)], grown=[GPU_NODE])
    assert "at most 4" in refusal(workers(5, 1, 1), cluster=standing)


def test_an_autoscaler_that_declares_nothing_may_have_anything() -> None:
    check([workers(100, 64, 8)], cluster=Cluster([], [], autoscales=True))


@pytest.fixture
def declared(ray_session: None) -> Iterator[None]:
    """Ray's own store of what an autoscaler declares: up to three nodes with two GPUs."""
    from ray._private.worker import global_worker

    config = autoscaler_pb2.ClusterConfig()
    group = config.node_group_configs.add()
    group.name, group.max_count = "gpu", 3
    for name, amount in GPU_NODE.items():
        group.resources[name] = int(amount)
    global_worker.gcs_client.report_cluster_config(config.SerializeToString())
    yield
    empty = autoscaler_pb2.ClusterConfig()
    empty.max_resources["CPU"] = 10**6  # an empty text would not replace it
    global_worker.gcs_client.report_cluster_config(empty.SerializeToString())


def test_declared_nodes_are_read_from_the_cluster(declared: None) -> None:
    """Beside the session's own node, which has two GPUs (of name only)."""
    assert look().kinds == [NodeKind(GPU_NODE, 3.0)]
    check([workers(8, 1, 1)])
    with pytest.raises(ConfigError, match="at most 8"):
        check([workers(9, 1, 1)])


@pytest.mark.parametrize(("kind", "scales"), [("ray.head.default", True), ("node_3f00", False)])
def test_the_report_of_an_autoscaler_is_told_from_that_of_a_mere_monitor(
    ray_session: None, kind: str, scales: bool
) -> None:
    from ray.experimental.internal_kv import _internal_kv_del, _internal_kv_put

    report = {"autoscaler_report": {"active_nodes": {kind: 1}, "pending_launches": {}}}
    _internal_kv_put("__autoscaling_status", json.dumps(report), overwrite=True)
    try:
        assert look().autoscales == scales
    finally:
        _internal_kv_del("__autoscaling_status")
    assert not look().autoscales


def refused(call: Any, *words: str) -> None:
    """At once, with the words."""
    began = time.monotonic()
    with pytest.raises(ConfigError) as caught:
        call()
    assert time.monotonic() - began < 60
    for word in (*words, "the cluster has 1 node of", "Lower these fields"):
        assert word in str(caught.value)


def test_training_that_can_never_start_is_refused(shards: ShardSet, tmp_path: Path) -> None:
    where = f"data.shards={shards.root}"
    few = config_of(tmp_path, where, "train.workers=2", "train.cpus_per_worker=2")
    refused(
        lambda: train_run(few, silent), "train.cpus_per_worker=2", "2 workers of {CPU: 2}", "ray.num_cpus"
    )
    gpu = config_of(tmp_path, where, "device=auto", "train.workers=1", "train.gpus_per_worker=3")
    refused(lambda: train_run(gpu, silent), "train.gpus_per_worker=3", "{CPU: 3, GPU: 2}", "RAY_ADDRESS")


def test_a_build_whose_network_wants_more_gpus_than_there_are_is_refused(
    ray_session: None, tmp_path: Path
) -> None:
    with made_up():
        network = "build.generate.mask={generator: net_mask, gpus: 1, concurrency: 3}"
        config = photo_config(photos(tmp_path / "in"), tmp_path / "work", network)
        refused(
            lambda: build(config, out=silent),
            "build.generate.mask.gpus=1",
            "build.generate.mask.concurrency=3",
            "3 processes of mask of {CPU: 1, GPU: 1}",
        )


def test_embedding_is_refused_where_its_actors_never_fit(
    any_run: Run, shards: ShardSet, workdir: Path
) -> None:
    asked = ("device=auto", "evaluate.actors=1", "evaluate.gpus_per_actor=3")
    config = config_of(workdir, *asked, "evaluate.subsets=nir")
    words = ("evaluate.gpus_per_actor=3", "1 embedding actor of {CPU: 1, GPU: 3}")
    for file in Path(any_run.uri).glob("features/*/*.arrow"):
        file.unlink()
    refused(lambda: evaluate_run(config, any_run, silent), *words)
    refused(lambda: index_run(config, any_run, silent), *words)


def test_a_search_is_refused_where_no_trial_fits(shards: ShardSet, tmp_path: Path) -> None:
    space = "tune.space={train.optim.lr: {loguniform: [1e-4, 1e-2]}}"
    asked = ("tune.metric=loss", "train.cpus_per_worker=4")
    config = config_of(tmp_path, f"data.shards={shards.root}", space, *asked)
    refused(lambda: tune_runs(config, silent), "train.cpus_per_worker=4", "1 trial of {CPU: 4}")


def test_serving_is_refused_where_its_replicas_never_fit_together(
    any_run: Run, shards: ShardSet, workdir: Path
) -> None:
    from pipelines.serve.app import run as deploy

    index_run(config_of(workdir), any_run, silent)
    config = config_of(workdir, "serve.replicas=4", "serve.port=0")  # a CPU each; the cluster has three
    refused(
        lambda: deploy(config, run_uri=any_run.uri, out=silent), "serve.replicas=4", "4 replicas of {CPU: 1}"
    )


def test_a_ladder_is_refused_before_its_first_run(shards: ShardSet, tmp_path: Path) -> None:
    (tmp_path / "ladder.yaml").write_text("- {name: base}\n")
    config = config_of(
        tmp_path,
        f"data.shards={shards.root}",
        f"ablate.ladder={tmp_path / 'ladder.yaml'}",
        "device=auto",
        "evaluate.actors=1",
        "evaluate.gpus_per_actor=3",
    )
    campaign = prepare(plan_ablation(config))
    refused(lambda: ablate_runs(campaign, silent), "evaluate.gpus_per_actor=3")
    assert not list((tmp_path / "train").glob("*/*"))
