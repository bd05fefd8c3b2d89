"""Another program holds the CPUs: verbs say so, go on when they are free, and end at their deadline."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import pytest
import ray.train
from ray.train.torch import TorchConfig, TorchTrainer
from ray.util.placement_group import placement_group_table

from pipelines.dataset.verify import verify
from pipelines.placement.resources import Request
from pipelines.placement.waiting import Watch, give_up, holds_nothing, wait_for, watched
from pipelines.tracebacks import with_traceback
from pipelines.training import attempts
from pipelines.training.train import train_run
from reid.config import RayConfig
from reid.data.shards.shard_set import ShardSet
from reid.errors import ConfigError, ResourceError, TrainingError
from tests.support.holding_cpus import held
from tests.support.tiny_configs import config_of, silent

ONE = [Request("task", 1, {"CPU": 1}, {"x.cpus": 1})]
QUICK = RayConfig(wait_s=60, tell_every_s=0.5)


def pending() -> list[str]:
    return [name for name, group in placement_group_table().items() if group["state"] == "PENDING"]


def test_it_says_what_it_waits_for_and_goes_on(ray_session: None) -> None:
    lines: list[str] = []
    with held(3) as other:

        def out(line: str) -> None:
            lines.append(line)
            if len(lines) == 2:
                other.release()

        wait_for("verify", ONE, QUICK, out)
    assert lines[0].startswith("verify: waiting for 1 task of {CPU: 1}: the cluster has 0 of 3 CPUs free (")
    assert lines[0].endswith("of at most 1 min 0 s)")
    assert lines[1].startswith("verify: waiting for")
    assert lines[-1].startswith("verify: found room after")
    assert not pending()


def test_where_there_is_room_nothing_is_said(ray_session: None) -> None:
    lines: list[str] = []
    began = time.monotonic()
    wait_for("verify", ONE, RayConfig(), lines.append)
    assert not lines
    assert time.monotonic() - began < 2


def test_training_waits_its_turn_and_ends_at_the_deadline(shards: ShardSet, tmp_path: Path) -> None:
    limits = ("train.workers=2", "ray.wait_s=3", "ray.tell_every_s=1")
    config = config_of(tmp_path, f"data.shards={shards.root}", *limits)
    lines: list[str] = []
    with held(2):
        began = time.monotonic()
        with pytest.raises(ResourceError) as caught:
            train_run(config, lines.append)
        assert 3 <= time.monotonic() - began < 8
    told = str(caught.value)
    for words in ("2 workers of {CPU: 1}", "ray.wait_s=3", "1 of 3 CPUs free", "train.workers=2"):
        assert words in told
    assert any(line.startswith("train: waiting for 2 workers of {CPU: 1}") for line in lines)
    assert not pending()


@pytest.mark.slow
def test_verify_goes_on_when_another_lets_go(shards: ShardSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.dataset.verify.RayConfig", lambda: QUICK)
    lines: list[str] = []
    with held(3) as other:

        def out(line: str) -> None:
            lines.append(line)
            other.release()

        assert verify(shards, out=out).sound
    assert "verify: waiting for 1 task" in lines[0]
    assert "100 %" in lines[-1]


def trainer(work: Any, folder: Path) -> Any:
    def make(workers: int, failures: ray.train.FailureConfig, callbacks: list[Any]) -> TorchTrainer:
        return TorchTrainer(
            with_traceback(work),
            scaling_config=ray.train.ScalingConfig(num_workers=workers, resources_per_worker={"CPU": 1}),
            run_config=ray.train.RunConfig(
                name="x", storage_path=str(folder), failure_config=failures, callbacks=callbacks
            ),
        )

    return make


@pytest.mark.slow
def test_workers_that_lose_their_room_wait_under_the_same_deadline(
    ray_session: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a lost node: the wait before the start is over, and Ray Train itself finds no room."""
    monkeypatch.setattr(attempts, "wait_for", lambda *_, **__: None)
    lines: list[str] = []
    with held(3):
        began = time.monotonic()
        settings = RayConfig(wait_s=4, tell_every_s=0.5)
        with pytest.raises(ResourceError, match=r"no room for 1 task.*ray\.wait_s=4"):
            attempts.fit(trainer(lambda: None, tmp_path), ONE[0], settings, attempts.Limits(1), lines.append)
        assert 4 <= time.monotonic() - began < 120  # Ray Train's controller starts first
    assert any(line.startswith("train: waiting for 1 task of {CPU: 1}") for line in lines)


@pytest.mark.slow
def test_workers_that_could_not_be_set_up_hold_nothing_afterwards(ray_session: None, tmp_path: Path) -> None:
    """Ray forgets a group whose start failed, but not to keep it: the next verb would wait for its CPUs."""

    def make(workers: int, failures: ray.train.FailureConfig, callbacks: list[Any]) -> TorchTrainer:
        return TorchTrainer(
            lambda: None,
            torch_config=TorchConfig(backend="no-such-backend"),
            scaling_config=ray.train.ScalingConfig(num_workers=workers, resources_per_worker={"CPU": 1}),
            run_config=ray.train.RunConfig(
                name="x", storage_path=str(tmp_path), failure_config=failures, callbacks=callbacks
            ),
        )

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(TrainingError):
        attempts.fit(make, ONE[0], QUICK, attempts.Limits(0), silent)
    assert signal.getsignal(signal.SIGINT) is before
    everything = [Request("task", 3, {"CPU": 1}, {"x.cpus": 1})]
    wait_for("verify", everything, RayConfig(wait_s=20), silent)


@pytest.mark.slow
def test_a_usage_error_of_a_worker_is_not_tried_again(ray_session: None, tmp_path: Path) -> None:
    tries = tmp_path / "tries"

    def work() -> None:
        with tries.open("a") as file:
            file.write("x")
        raise ConfigError("train.nothing: no such thing.")

    with pytest.raises(ConfigError, match=r"^train\.nothing: no such thing\.$"):
        attempts.fit(trainer(work, tmp_path), ONE[0], QUICK, attempts.Limits(2), silent)
    assert tries.read_text() == "x"


@pytest.mark.slow
def test_an_error_of_a_worker_is_tried_again_after_a_pause_and_its_traceback_kept(
    ray_session: None, tmp_path: Path
) -> None:
    tries = tmp_path / "tries"

    def work() -> None:
        with tries.open("a") as file:
            file.write("x")
        raise ValueError("zonk")

    lines: list[str] = []
    with pytest.raises(TrainingError, match=r"^ValueError: zonk \(traceback: .*/errors/.*-rank0\.txt\)$"):
        attempts.fit(
            trainer(work, tmp_path),
            ONE[0],
            QUICK,
            attempts.Limits(1),
            lines.append,
            run=str(tmp_path / "run"),
        )
    assert tries.read_text() == "xx"
    (again,) = [line for line in lines if "starting again from the last checkpoint in 1 s" in line]
    assert again.startswith("train: a worker failed: ValueError: zonk (traceback: ")
    first, second = sorted((tmp_path / "run/errors").iterdir())
    assert "in work" in first.read_text() and "in work" in second.read_text()


def test_a_worker_at_work_is_not_waiting_and_one_of_another_program_is_no_help(ray_session: None) -> None:
    @ray.remote(num_cpus=3)
    class Ours:
        def here(self) -> bool:
            return True

    lines: list[str] = []
    watch = Watch("embed", ONE, RayConfig(wait_s=0.1), lines.append)
    ours: Any = Ours.remote()
    assert ray.get(ours.here.remote())
    watch.look()
    watch.look()
    assert not lines and not watch.late
    ray.kill(ours)
    with held(3):
        assert holds_nothing(ONE)
        watch.look()
        time.sleep(0.2)
        watch.look()
    assert len(lines) == 1 and "embed: waiting for 1 task" in lines[0]
    assert watch.late


def test_a_loop_that_asks_is_ended_when_it_waited_too_long(ray_session: None) -> None:
    settings = RayConfig(wait_s=0.3, tell_every_s=0.1)
    with watched("tune", ONE, settings, silent, lambda _: True):
        give_up()
        time.sleep(1)
        with pytest.raises(ResourceError, match=r"tune: no room for 1 task"):
            give_up()
    give_up()


def test_a_watch_that_cannot_look_ends_nothing_and_is_told_once() -> None:
    def broken(_: Any) -> bool:
        raise OSError("no answer")

    lines: list[str] = []
    watch = Watch("tune", ONE, QUICK, lines.append, broken)
    watch.look()
    watch.look()
    assert lines == ["tune: cannot tell whether it waits (OSError: no answer)"]
