"""How many workers train: what fits, of the numbers that can share a batch; more when there is more room."""

from __future__ import annotations

from typing import Any

import pytest

import pipelines.training.elastic as elastic
from pipelines.placement.resources import Cluster
from pipelines.training.elastic import GrowAtCheckpoint, MoreRoom, fitting, number_that_fits
from pipelines.training.requests import train_requests
from reid.config.sections.training.workers import WorkerRange, worker_counts
from reid.errors import ConfigError
from tests.support.tiny_configs import config_of


def test_only_numbers_that_divide_a_batch_train() -> None:
    assert worker_counts(WorkerRange(min=2, max=9), identities=12) == [2, 3, 4, 6]
    assert worker_counts(WorkerRange(min=5, max=7), identities=8) == []
    assert worker_counts(WorkerRange(min=2, max=4), identities="per_rank") == [2, 3, 4]


@pytest.mark.parametrize(("room", "workers"), [(0, 2), (2, 2), (5, 4), (100, 8)])
def test_the_most_that_fit_begin_and_the_least_wait(room: int, workers: int) -> None:
    assert fitting([2, 4, 8], room) == workers


def test_the_cluster_is_asked_for_the_least_since_nodes_may_come_later() -> None:
    config = config_of("x", "train.workers={min: 2, max: 7}", "train.batch.identities=8")
    (request,) = train_requests(config, 0)
    assert (request.begin, request.count) == (2, 2)
    assert request.asked().startswith("train.workers={min: 2, max: 7}, train.cpus_per_worker=1")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("{min: 3, max: 2}", "less than min"),
        ("{min: 0, max: 2}", "1"),
        ("-1", "min: 1"),
        ("{min: 1}", "max: 4"),
    ],
)
def test_other_ranges_are_refused(given: str, told: str) -> None:
    with pytest.raises(ConfigError, match=rf"train\.workers.*{told}"):
        config_of("x", f"train.workers={given}")


def after(monkeypatch: pytest.MonkeyPatch, free: float, **reported: Any) -> int | None:
    """How many workers a growing training wants after a checkpoint; two of one CPU train."""
    monkeypatch.setattr(elastic, "look", lambda: Cluster([], [{"CPU": free}]))
    callback = GrowAtCheckpoint([1, 2, 4], 2, {"CPU": 1}, every_s=0)
    try:
        callback.after_report(None, [reported, reported], None)
    except MoreRoom as more:
        return more.workers
    return None


def test_training_grows_at_a_checkpoint_where_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    assert after(monkeypatch, free=1) is None
    assert after(monkeypatch, free=2) == 4
    assert after(monkeypatch, free=2, last=True) is None


def test_between_two_looks_some_time_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elastic, "look", lambda: Cluster([], [{"CPU": 8.0}]))
    GrowAtCheckpoint([1, 2, 4], 2, {"CPU": 1}, every_s=60).after_report(None, [{}], None)


def test_what_others_are_about_to_give_back_is_waited_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    free = iter([1.0, 1.0, 4.0])
    monkeypatch.setattr(elastic.time, "sleep", lambda _: None)
    monkeypatch.setattr(elastic, "look", lambda: Cluster([{"CPU": 4.0}], [{"CPU": next(free)}]))
    assert number_that_fits([1, 2, 4], {"CPU": 1}) == 4
    monkeypatch.setattr(elastic, "look", lambda: Cluster([{"CPU": 4.0}], [{"CPU": 2.0}]))
    assert number_that_fits([1, 2, 4], {"CPU": 1}, patience_s=0) == 2
