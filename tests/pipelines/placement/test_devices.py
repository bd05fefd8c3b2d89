"""A process computes on a GPU only where Ray granted one, whatever torch sees."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import pipelines.placement.devices
from jobs.common import worker_environment
from pipelines.embed import EmbeddingActor
from pipelines.placement.devices import device_beside_actors, device_here, own_device
from pipelines.tune import tune_runs
from reid.data.shards.shard_set import ShardSet
from reid.errors import ConfigError, TrainingError, UsageError
from reid.runs.run import Run
from tests.support.places import ROOT
from tests.support.tiny_configs import config_of, silent


def with_cuda(seen: bool) -> None:
    """The double of a machine with or without GPUs."""
    torch.cuda.is_available = lambda: seen  # type: ignore[method-assign]


class Process:
    """An actor on a machine where torch sees a GPU, or none."""

    def __init__(self, seen: bool) -> None:
        with_cuda(seen)

    def device(self, *asked: Any) -> str:
        try:
            return str(device_here(*asked) if asked else own_device("x", "auto", silent))
        except UsageError as error:
            return f"error: {error}"

    def embeds_on(self, run: str, shards: str) -> str:
        return str(EmbeddingActor(run, shards, "test", 8).run.device)

    def visible(self) -> str | None:
        return os.environ.get("CUDA_VISIBLE_DEVICES")


def actor(seen: bool = True, **options: Any) -> Any:
    import ray

    return ray.remote(Process).options(num_cpus=0, **options).remote(seen)


@pytest.mark.parametrize(
    ("granted", "seen"),
    [
        (0, True),
        (1, True),
        *(
            pytest.param(n, s, marks=pytest.mark.slow)
            for n, s in ((0, False), (0.5, False), (0.5, True), (1, False))
        ),
    ],
)
def test_a_worker_uses_the_gpu_that_it_was_granted_and_none_that_it_only_sees(
    ray_session: None, granted: float, seen: bool
) -> None:
    import ray

    process = actor(seen, num_gpus=granted)
    calls = [process.device.remote(*asked) for asked in ((), (0, "x.gpus"), (0.5, "x.gpus"))]
    free, none, some = ray.get(calls)
    ray.kill(process)
    assert (free, none) == ("cuda" if granted and seen else "cpu", "cpu")
    if granted and seen:
        assert some == "cuda"
    else:
        why = "torch sees none here" if granted else "Ray granted none"
        assert some.startswith(f"error: x.gpus=0.5: {why}") and "x.gpus=0 " in some


@pytest.mark.parametrize("with_ray", [False, True])
def test_outside_rays_workers_gpus_are_ones_own(
    ray_session: None, monkeypatch: pytest.MonkeyPatch, with_ray: bool
) -> None:
    if not with_ray:
        monkeypatch.delitem(sys.modules, "ray")
    for seen, found in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda seen=seen: seen)
        lines: list[str] = []
        assert own_device("search", "auto", lines.append).type == found
        assert len(lines) == seen and all("search: computes on this machine's GPU" in line for line in lines)
        assert own_device("search", "cpu", silent).type == "cpu"
        assert device_here(0, "train.gpus_per_worker").type == "cpu"
    with pytest.raises(UsageError, match=r"train\.gpus_per_worker=1: torch sees none here"):
        device_here(1, "train.gpus_per_worker")
    with pytest.raises(UsageError, match=r"device=cuda: torch sees none here"):
        own_device("search", "cuda", silent)


def test_a_process_leaves_the_gpus_to_its_actors(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(pipelines.placement.devices, "_granted", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    beside = lambda *words: device_beside_actors("x", config_of(tmp_path, *words), silent).type  # noqa: E731
    assert beside("device=auto", "evaluate.actors=2", "evaluate.gpus_per_actor=1") == "cpu"
    assert beside("device=auto", "evaluate.actors=0") == "cuda"
    assert beside("device=cpu", "evaluate.actors=0") == "cpu"
    assert beside("device=auto", "evaluate.actors=0", "evaluate.gpus_per_actor=0") == "cpu"
    with pytest.raises(ConfigError, match=r"device=cuda, but evaluate\.gpus_per_actor=0"):
        beside("device=cuda", "evaluate.actors=0", "evaluate.gpus_per_actor=0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert beside("device=auto", "evaluate.actors=0") == "cpu"
    with pytest.raises(UsageError, match=r"evaluate\.gpus_per_actor=1"):
        beside("device=auto", "evaluate.actors=0", "evaluate.gpus_per_actor=1")


@pytest.mark.slow
def test_an_embedding_actor_without_gpus_stays_on_the_cpu(any_run: Run, shards: ShardSet) -> None:
    import ray

    process = actor()
    assert ray.get(process.embeds_on.remote(any_run.uri, shards.root)) == "cpu"
    ray.kill(process)


@pytest.mark.slow
def test_a_trial_that_was_promised_a_gpu_says_that_there_is_none(shards: ShardSet, tmp_path: Path) -> None:
    words = [f"data.shards={shards.root}", "tune.trials=1", "tune.metric=loss"]
    words += ["device=auto", "train.gpus_per_worker=1"]
    space = "tune.space={train.optim.lr: {choice: [0.001]}}"
    with pytest.raises(TrainingError, match=r"train\.gpus_per_worker=1: torch sees none here"):
        tune_runs(config_of(tmp_path, *words, space), silent)


def test_no_other_place_of_the_pipelines_asks_torch() -> None:
    files = [*(ROOT / "pipelines").rglob("*.py"), *(ROOT / "jobs").rglob("*.py")]
    asking = {f.name for f in files if "cuda.is_available" in f.read_text() or '"cuda"' in f.read_text()}
    assert asking == {"devices.py", "gpus.py", "worker.py", "benchmark.py"}  # settings, and which of several


@pytest.mark.slow
def test_our_workers_see_only_what_they_were_granted(ray_session: None) -> None:
    import ray

    plain = {"runtime_env": {"env_vars": worker_environment()}}
    processes = [actor(num_gpus=granted, **plain) for granted in (0, 1)]
    none, one = ray.get([process.visible.remote() for process in processes])
    for process in processes:
        ray.kill(process)
    assert none == "" and one in {"0", "1"}


TELL = """
import os, ray
from jobs.common import start_ray
from reid.config import RayConfig

start_ray(RayConfig())
names = ("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "PYTHONWARNINGS", "TOKENIZERS_PARALLELISM")
tell = ray.remote(lambda: [os.environ.get(name) for name in names])
print(ray.get(tell.options(num_cpus=0).remote()))
"""


@pytest.mark.slow
def test_workers_of_a_cluster_that_was_joined_have_it_too_and_a_jobs_own_settings_stay(
    ray_session: None,
) -> None:
    import ray

    address = ray.get_runtime_context().gcs_address
    job = json.dumps({"runtime_env": {"env_vars": {"PYTHONWARNINGS": "once"}}, "metadata": {}})
    env = {**os.environ, "RAY_ADDRESS": address, "RAY_JOB_CONFIG_JSON_ENV_VAR": job}
    done = subprocess.run(
        [sys.executable, "-c", TELL], cwd=ROOT, env=env, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == "['1', 'once', 'false']"
