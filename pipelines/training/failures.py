"""Why an attempt at training ended: an error of its own, or a node that went away under it."""

from __future__ import annotations

import time
from typing import Any

import ray
from ray.exceptions import RayActorError
from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError, WorkerHealthCheckTimeoutError

from pipelines.tracebacks import carried, write_traceback
from reid.errors import AnyReIDError

NOTICED_S = 20.0
"""Within which Ray's head notices a node that ended without a word (15 s with its own settings)."""
_PEERS = ("gloo", "NCCL", "Connection closed", "Connection reset", "connection refused", "DistBackend")
"""In what a worker says whose peer has gone."""


def living() -> set[str]:
    """The ids of the nodes that are there."""
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return {node["NodeID"] for node in nodes if node["Alive"]}


def lost_nodes(error: BaseException, before: set[str]) -> list[str]:
    """The names of nodes that went while an attempt ran which ended by this error, if that can be why.

    `before` are the nodes at its begin. Workers end before Ray's head knows of the node: this waits for it.
    """
    if not may_be_lost(error):
        return []
    deadline = time.monotonic() + NOTICED_S
    while True:
        gone = before - living()
        if gone or time.monotonic() > deadline:
            return sorted(_name(node) for node in gone)
        time.sleep(0.5)


def preempted(error: BaseException) -> bool:
    """Whether Ray ended the attempt because a node was about to be taken away."""
    return type(error).__name__ == "PreemptionError"


def may_be_lost(error: BaseException) -> bool:
    """Whether some worker ended without an error of its own, or by one of a peer that has gone."""
    failures: dict[int, BaseException] = getattr(error, "worker_failures", None) or {}
    controller = getattr(error, "controller_failure", None)
    if isinstance(error, RayActorError):  # Ray's controller itself, which may run on any node
        return True
    for one in [*failures.values(), *([controller] if controller is not None else [])]:
        lost = WorkerHealthCheckFailedError | WorkerHealthCheckTimeoutError | RayActorError
        inner = innermost(one)
        if isinstance(one, lost) or isinstance(inner, lost) or "WorkerGroupStartup" in type(inner).__name__:
            return True
        if not isinstance(inner, AnyReIDError) and any(word in str(inner) for word in _PEERS):
            return True
    return False


def keep_tracebacks(error: BaseException, run: str) -> str:
    """Write what each failed worker told to files in the run folder; words that say where."""
    failures: dict[int, BaseException] = getattr(error, "worker_failures", None) or {}
    kept = [
        write_traceback(
            run, f"rank{rank}", carried(innermost(one)) or f"{type(one).__name__}: {one}\n\n{error}\n"
        )
        for rank, one in sorted(failures.items())
        if not isinstance(innermost(one), AnyReIDError)
    ]
    if not kept and not failures:
        kept = [write_traceback(run, "train", error)]
    return f" (traceback: {kept[0]})" if kept else ""


def _name(node_id: str) -> str:
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    address = next((n["NodeManagerAddress"] for n in nodes if n["NodeID"] == node_id), "")
    return f"{node_id[:8]} ({address})" if address else node_id[:8]


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
