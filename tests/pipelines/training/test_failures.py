"""What counts against which budget: errors of the workers, lost nodes, preemption."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ray.exceptions import ActorDiedError
from ray.train import TrainingFailedError
from ray.train.v2._internal.exceptions import UserExceptionWithTraceback, WorkerHealthCheckFailedError

from pipelines.training import attempts, failures
from pipelines.training.attempts import Limits
from pipelines.training.failures import lost_nodes, may_be_lost
from reid.errors import ConfigError, TrainingError


class Failed(TrainingFailedError):
    """As Ray's, with one failure a rank."""

    def __init__(self, *failures: Exception) -> None:
        super().__init__("failed")
        self.worker_failures = dict(enumerate(failures))


class PreemptionError(TrainingFailedError):
    """As Ray's, which has more arguments."""


def of_worker(error: BaseException) -> Exception:
    return UserExceptionWithTraceback(error, "Traceback")


GONE = Failed(WorkerHealthCheckFailedError("no answer", RuntimeError("gone")))
PEER = Failed(of_worker(RuntimeError("[gloo/transport/tcp/pair.cc] Connection closed by peer")))
OWN = Failed(of_worker(ValueError("a bug")))


@pytest.mark.parametrize(
    ("error", "may"),
    [
        (GONE, True),
        (ActorDiedError(), True),
        (PEER, True),
        (OWN, False),
        (Failed(of_worker(ConfigError("NCCL: no such field"))), False),
    ],
)
def test_a_node_can_be_why_a_worker_is_silent_or_misses_a_peer(error: Exception, may: bool) -> None:
    assert may_be_lost(error) == may


@pytest.mark.parametrize(("error", "lost"), [(GONE, ["b"]), (OWN, [])])
def test_a_node_is_lost_when_it_was_there_and_is_not(
    monkeypatch: pytest.MonkeyPatch, error: Failed, lost: list[str]
) -> None:
    monkeypatch.setattr(failures, "living", lambda: {"a", "c"})
    monkeypatch.setattr(failures, "_name", lambda node: node)
    assert lost_nodes(error, {"a", "b"}) == lost


def test_a_worker_that_died_alone_is_an_error_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "living", lambda: {"a"})
    monkeypatch.setattr(failures, "NOTICED_S", 0)
    assert lost_nodes(GONE, {"a"}) == []


def spend(
    monkeypatch: pytest.MonkeyPatch, error: TrainingFailedError, lost: list[str], left: Limits, limits: Limits
) -> str:
    monkeypatch.setattr(attempts, "lost_nodes", lambda *_: lost)
    return attempts._spend(error, set(), left, limits, " (traceback: x)")


def test_lost_nodes_and_preemption_leave_the_budget_of_errors_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = Limits(failures=0)
    for _ in range(5):
        assert spend(monkeypatch, GONE, ["b"], limits, limits) == "lost node b"
        assert spend(monkeypatch, PreemptionError("x"), [], limits, limits) == "was preempted"


def test_each_budget_has_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = Limits(failures=1, lost_nodes=1)
    left = replace(limits)
    told = spend(monkeypatch, OWN, [], left, limits)
    assert told == "a worker failed: ValueError: a bug (traceback: x) (train.max_failures=1: 0 left)"
    assert "max_lost_nodes=1: 0 left" in spend(monkeypatch, GONE, ["b"], left, limits)
    with pytest.raises(TrainingError, match=r"ValueError: a bug \(traceback: x\)"):
        spend(monkeypatch, OWN, [], left, limits)
    with pytest.raises(TrainingError, match=r"lost nodes b, c, after train\.max_lost_nodes=1 others"):
        spend(monkeypatch, GONE, ["b", "c"], left, limits)
