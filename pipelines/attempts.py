"""One training on Ray Train, to its end or its first error that another attempt cannot mend.

Ray by itself starts a worker group again for ever when there is no room for it, and again after any error of
a worker, also one that names a wrong setting.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import ray.train
from ray import PlacementGroupID
from ray.train.v2._internal.exceptions import WorkerGroupStartupFailedError, WorkerGroupStartupTimeoutError
from ray.util.placement_group import PlacementGroup, placement_group_table, remove_placement_group

from pipelines.progress import Say, say
from pipelines.resources import Request
from pipelines.waiting import late, wait_for, watched
from reid.config import RayConfig
from reid.errors import AnyReIDError, DataError, ResourceError, TrainingError, UsageError, WeightsError

_START_TIMEOUT = "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"
_ASK_EVERY = "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S"
"""Pause between two questions of the controller to its workers, in which no checkpoint is registered."""
FINAL = (UsageError, TrainingError, WeightsError, DataError)
"""What no other attempt can mend; storage and resources may come back."""


class StopAtRefusals(ray.train.UserCallback):
    """Runs in Ray's controller: what it raises ends the run, whatever `max_failures` says."""

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        """Raise what another attempt would meet again, e.g. a usage error or weights that do not fit."""
        for error in worker_exceptions.values():
            if isinstance(inner := innermost(error), FINAL):
                raise inner


def fit(
    make: Callable[[ray.train.FailureConfig, list[Any]], Any],
    requests: list[Request],
    settings: RayConfig,
    max_failures: int,
    out: Say = say,
) -> None:
    """Wait for room and fit the trainer that `make` gives.

    Raises ConfigError for room that the cluster can never have, ResourceError after `ray.wait_s` without it
    (also for workers that lost theirs), a worker's own error if it is FINAL, and TrainingError with the first
    cause for all else.
    """
    os.environ[_START_TIMEOUT] = f"{settings.wait_s:g}"  # Ray hands them on to its controller
    os.environ.setdefault(_ASK_EVERY, "0.5")
    # Without a limit Ray would wait anew each time; what may pass is tried again below.
    settled: Any = ray.train.FailureConfig  # its types are an older Ray's
    failures = settled(max_failures=max_failures, controller_failure_limit=0)
    for left in range(max_failures, -1, -1):
        wait_for("train", requests, settings, out)
        try:
            with watched("train", requests, settings, out), _nothing_left():
                _beside(make(failures, [StopAtRefusals()]).fit)
            return
        except ray.train.TrainingFailedError as error:
            cause = innermost(getattr(error, "controller_failure", None) or error)
            if isinstance(cause, WorkerGroupStartupTimeoutError):
                raise ResourceError(late("train", requests, settings)) from error
            if isinstance(cause, FINAL):
                raise type(cause)(str(cause)) from error
            if not isinstance(cause, WorkerGroupStartupFailedError) or not left:
                raise TrainingError(first_cause(error)) from error
            out("train: a worker was lost while it started; starting again")


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


def innermost(error: BaseException) -> BaseException:
    """The error that Ray's own ones wrap."""
    while not isinstance(error, AnyReIDError) and isinstance(
        deeper := getattr(error, "cause", None) or getattr(error, "_base_exc", None), BaseException
    ):
        error = deeper
    return error


def first_cause(error: BaseException) -> str:
    """The innermost message of a worker's failure, or of the controller's: what a person can act on."""
    failures = getattr(error, "worker_failures", None) or {}
    controller = getattr(error, "controller_failure", None)
    for cause in [*failures.values(), *([controller] if controller is not None else [])]:
        inner = innermost(cause)
        return str(inner) if isinstance(inner, AnyReIDError) else f"{type(inner).__name__}: {inner}"
    return str(error)
