"""A training on Ray Train, to its end or its first error that another attempt cannot mend.

Ray by itself starts a worker group again for ever when there is no room for it, counts a lost node as an
error of the workers, and starts again after any of them, also one that names a wrong setting. So each of its
attempts ends at the first failure, and what follows is decided here.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import ray.train
from ray import PlacementGroupID
from ray.exceptions import RayActorError
from ray.train.v2._internal.exceptions import WorkerGroupStartupFailedError, WorkerGroupStartupTimeoutError
from ray.util.placement_group import PlacementGroup, placement_group_table, remove_placement_group

from pipelines.placement.resources import Request
from pipelines.placement.waiting import late, wait_for, watched
from pipelines.progress import Say, duration, say
from pipelines.training.elastic import GrowAtCheckpoint, MoreRoom, number_that_fits
from pipelines.training.failures import first_cause, innermost, keep_tracebacks, living, lost_nodes, preempted
from reid.config import RayConfig
from reid.errors import DataError, ResourceError, StorageRefusal, TrainingError, UsageError, WeightsError

_START_TIMEOUT = "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"
_ASK_EVERY = "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S"
"""Pause between two questions of the controller to its workers: how late it learns that one is lost, and how
long a report of an elastic training waits. Ray's own is two seconds."""
_START_S = 60.0
"""After so long without its room an elastic training looks anew how many workers fit."""
_MOST_PAUSE_S = 60.0
_SETTLED_S = 600.0
"""An attempt that ran so long had begun well: the next pause is short again."""
FINAL = (UsageError, TrainingError, WeightsError, DataError, StorageRefusal)
"""What no other attempt can mend; a store that is out and resources may come back."""
Make = Callable[[int, ray.train.FailureConfig, list[Any]], Any]
"""The trainer for a number of workers."""


class StopAtRefusals(ray.train.UserCallback):
    """Runs in Ray's controller: what it raises ends the run with that error, and not with a worker's text."""

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        """Raise what another attempt would meet again, e.g. a usage error or weights that do not fit."""
        for error in worker_exceptions.values():
            if isinstance(inner := innermost(error), FINAL):
                raise inner


@dataclass
class Limits:
    """How often training starts again from its last checkpoint: after errors, and after lost nodes."""

    failures: int
    lost_nodes: int | None = None
    """None: any number."""


def fit(
    make: Make,
    request: Request,
    settings: RayConfig,
    limits: Limits,
    out: Say = say,
    counts: list[int] | None = None,
    run: str = "runs",
) -> None:
    """Wait for room and fit the trainer that `make` gives, again after failures that may pass.

    `counts` are the numbers of workers that may train, ascending; without them the request's count alone.
    `run` is the run folder, where tracebacks of workers are kept.

    Raises ConfigError for room that the cluster can never have, ResourceError after `ray.wait_s` without it
    (also for workers that lost theirs), a worker's own error if it is FINAL, and TrainingError with the first
    cause for all else.
    """
    counts = counts or [request.count]
    elastic = len(counts) > 1
    timeout = min(settings.wait_s, _START_S) if elastic else settings.wait_s
    os.environ[_START_TIMEOUT] = f"{timeout:g}"  # Ray hands them on to its controller
    os.environ.setdefault(_ASK_EVERY, "0.5")
    settled: Any = ray.train.FailureConfig  # its types are an older Ray's
    failures = settled(max_failures=0, max_preemption_failures=0, controller_failure_limit=0)
    left, tries, waited, had_room = replace(limits), 0, 0.0, False
    while True:
        wait_for("train", [request], _rest_of(settings, waited), out, had_room=had_room)
        had_room = True
        now = number_that_fits(counts, request.needs) if elastic else counts[0]
        if elastic:
            out(f"train: {now} of {counts[0]} to {counts[-1]} workers")
        else:
            out(f"train: starting {request.told()}")
        nodes, began = living(), time.monotonic()
        callbacks: list[Any] = [StopAtRefusals()]
        if now < counts[-1]:
            callbacks.append(GrowAtCheckpoint(counts, now, request.needs, settings.tell_every_s))
        running = replace(request, count=now)
        try:
            with watched("train", [running], settings, out, store=run), _nothing_left():
                _beside(make(now, failures, callbacks).fit)
            return
        except (ray.train.TrainingFailedError, RayActorError) as error:
            cause = innermost(getattr(error, "controller_failure", None) or error)
            if isinstance(cause, MoreRoom):
                out(f"train: room for {cause.workers} workers: going on from the checkpoint with them")
                continue
            if isinstance(cause, WorkerGroupStartupTimeoutError):
                waited += timeout
                if not elastic or waited >= settings.wait_s:
                    raise ResourceError(late("train", [running], settings)) from error
                continue
            if isinstance(cause, FINAL):
                raise type(cause)(str(cause)) from error
            waited = 0.0
            why = _spend(error, nodes, left, limits, keep_tracebacks(error, run))
            tries = 1 if time.monotonic() - began > _SETTLED_S else tries + 1
            pause = min(_MOST_PAUSE_S, 2.0 ** (tries - 1))
            out(f"train: {why}; starting again from the last checkpoint in {duration(pause)}")
            time.sleep(pause)


def _rest_of(settings: RayConfig, waited: float) -> RayConfig:
    """The settings with what is left of the time to wait."""
    return settings.model_copy(update={"wait_s": max(1.0, settings.wait_s - waited)}) if waited else settings


def _spend(error: BaseException, nodes: set[str], left: Limits, limits: Limits, where: str) -> str:
    """Count a failure; what happened, for a line. Raises TrainingError when it was one too many."""
    gone = lost_nodes(error, nodes)
    if gone or preempted(error):
        what = f"lost {'node' if len(gone) == 1 else 'nodes'} {', '.join(gone)}" if gone else "was preempted"
        if left.lost_nodes is None:
            return what
        if left.lost_nodes == 0:
            raise TrainingError(f"{what}, after train.max_lost_nodes={limits.lost_nodes} others.") from error
        left.lost_nodes -= 1
        return f"{what} (train.max_lost_nodes={limits.lost_nodes}: {left.lost_nodes} left)"
    if left.failures == 0:
        raise TrainingError(f"{first_cause(error)}{where}") from error
    left.failures -= 1
    cause = innermost(getattr(error, "controller_failure", None) or error)
    if isinstance(cause, WorkerGroupStartupFailedError):
        told = "a worker was lost while it started"
    else:
        told = f"a worker failed: {first_cause(error).strip().splitlines()[0]}{where}"
    return f"{told} (train.max_failures={limits.failures}: {left.failures} left)"


def _beside(work: Callable[[], Any]) -> None:
    """Run `work` in a thread of its own and wait for it; what it raises is raised here.

    In the main thread Ray Train would put a handler of its own in place of ours: Ctrl-C would end the process
    with another code and without a word, do nothing while Ray waits for room, and stay swallowed afterwards.
    """
    failed: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run, name="ray-train", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(timeout=0.5)  # without an end no signal would get through
    if failed:
        raise failed[0]


@contextmanager
def _nothing_left() -> Iterator[None]:
    """Give back what Ray keeps of a trainer when the block ends.

    Workers whose process group could not be set up go on holding their CPUs and GPUs, in a placement group
    that nobody removes: the next verb of this process would wait for them.
    """
    others = _placement_groups()
    try:
        yield
    finally:
        for name in _placement_groups() - others:
            remove_placement_group(PlacementGroup(PlacementGroupID.from_hex(name)))


def _placement_groups() -> set[str]:
    """Those of this job, in hexadecimal, that are not removed."""
    job = ray.get_runtime_context().get_job_id()
    groups: dict[str, dict[str, Any]] = placement_group_table()
    return {n for n, group in groups.items() if n.endswith(job) and group["state"] != "REMOVED"}
