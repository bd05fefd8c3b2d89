"""Waiting for room on a Ray cluster: never in silence, never for ever.

`wait_for` stands before the start of a verb's processes: Ray would take the request and say nothing. `Watch`
tells the same while they run, for a verb that lost what it held (a node died) or whose turn another took.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import ray
from ray.util.placement_group import placement_group, placement_group_table, remove_placement_group

from pipelines.placement.resources import Request, check, look
from pipelines.placement.store_watch import StoreWatch
from pipelines.progress import Say, duration, say
from reid.config import RayConfig
from reid.errors import ResourceError

_FIRST_S = 5.0
"""What others just gave back takes a moment to be free: nothing is told about shorter waits."""


def wait_for(
    verb: str,
    requests: Sequence[Request],
    settings: RayConfig,
    out: Say = say,
    together: bool = True,
    had_room: bool = False,
) -> None:
    """Return once the requests could begin. `together`: all at the same time, else one after another.

    `had_room`: they did before, so that what the cluster lacks may be a lost node that comes back.
    Raises ConfigError at once for what can never fit, ResourceError after `ray.wait_s`.
    """
    if not had_room:
        check(requests, together)
    requests = [request for request in requests if request.needs]
    clock = _Clock(verb, settings, out)
    for group in [requests] if together else [[request] for request in requests]:
        bundles = [request.needs for request in group for _ in range(request.begin)]
        if not bundles:
            continue
        # A placement group is how Ray is asked for room: it waits its turn, and autoscalers see it.
        held: Any = placement_group(bundles)
        try:
            while not held.wait(timeout_seconds=min(1.0, clock.next_s)):
                clock.waits(group)
        finally:
            remove_placement_group(held)
        clock.found()


class _Clock:
    """When to tell, and when to give up."""

    def __init__(self, verb: str, settings: RayConfig, out: Say) -> None:
        self.verb, self.settings, self.out = verb, settings, out
        self.began = time.monotonic()
        self.told = 0
        self.next_s = min(_FIRST_S, settings.tell_every_s)

    def waits(self, requests: Sequence[Request]) -> None:
        """Called now and then while there is no room. Raises ResourceError after the deadline."""
        waited = time.monotonic() - self.began
        if waited >= self.settings.wait_s:
            raise ResourceError(late(self.verb, requests, self.settings))
        if waited >= self.next_s:
            self.told += 1
            self.next_s = waited + self.settings.tell_every_s
            self.out(line(self.verb, requests, self.settings, waited))

    def found(self) -> None:
        """Said only when waiting was told."""
        if self.told:
            self.out(f"{self.verb}: found room after {duration(time.monotonic() - self.began)}")
            self.told = 0


def line(verb: str, requests: Sequence[Request], settings: RayConfig, waited: float) -> str:
    """What is waited for, what is free, and for how long this goes on."""
    return (
        f"{verb}: waiting for {_wanted(requests)}: the cluster has {_free(requests)} "
        f"({duration(waited)} of at most {duration(settings.wait_s)})"
    )


def late(verb: str, requests: Sequence[Request], settings: RayConfig) -> str:
    """The message after the deadline."""
    asked = ", ".join(request.asked() for request in requests)
    return (
        f"{verb}: no room for {_wanted(requests)} within {duration(settings.wait_s)} "
        f"(ray.wait_s={settings.wait_s:g}): the cluster has {_free(requests)}. Run the same command again "
        f"when others have ended, wait longer (ray.wait_s), or ask for less: {asked}."
    )


def _wanted(requests: Sequence[Request]) -> str:
    return " and ".join(
        request.told(request.begin) if request.begin == request.count else _first_of(request)
        for request in requests
    )


def _first_of(request: Request) -> str:
    return f"the first {request.begin} of {request.told()}"


def _free(requests: Sequence[Request]) -> str:
    cluster = look()
    names = list(dict.fromkeys(name for request in requests for name in request.needs))
    more = "; its autoscaler may add nodes" if cluster.autoscales or cluster.kinds else ""
    return cluster.told_free(names) + more


class Watch:
    """Looks every `ray.tell_every_s`: this job holds nothing, and what it asks for is not free."""

    def __init__(
        self,
        verb: str,
        requests: Sequence[Request],
        settings: RayConfig,
        out: Say = say,
        waiting: Callable[[Sequence[Request]], bool] | None = None,
    ) -> None:
        self.verb, self.settings, self.out = verb, settings, out
        self.requests = [request for request in requests if request.needs]
        self.late = False
        """Whether it has waited for longer than `ray.wait_s` without a break."""
        self._waiting = waiting or holds_nothing
        self._since: float | None = None
        self._failed = False

    def look(self) -> None:
        """One look. A wait is told from the second look on that finds it."""
        try:
            waits = self._waiting(self.requests)
        except Exception as error:  # what only tells may not end what works
            if not self._failed:
                self._failed = True
                self.out(f"{self.verb}: cannot tell whether it waits ({type(error).__name__}: {error})")
            return
        now = time.monotonic()
        if not waits:
            self._since = None
        elif self._since is None:
            self._since = now
        else:
            self.late = now - self._since >= self.settings.wait_s
            self.out(line(self.verb, self.requests, self.settings, now - self._since))


_watched: list[Watch] = []


@contextmanager
def watched(
    verb: str,
    requests: Sequence[Request],
    settings: RayConfig,
    out: Say = say,
    waiting: Callable[[Sequence[Request]], bool] | None = None,
    store: str | None = None,
) -> Iterator[Watch]:
    """A `Watch` that looks while the block runs, and tells when the store with `store` in it is out."""
    watch = Watch(verb, requests, settings, out, waiting)
    stored = StoreWatch(verb, store, out)
    ended = threading.Event()

    def follow() -> None:
        while not ended.wait(settings.tell_every_s):
            watch.look()
            stored.look()

    thread = threading.Thread(target=follow, name="waiting", daemon=True)
    _watched.append(watch)
    thread.start()
    try:
        yield watch
    finally:
        ended.set()
        _watched.remove(watch)
        thread.join(timeout=5)


def give_up() -> None:
    """For loops of Ray's that call back: raise ResourceError when a running watch has waited too long."""
    for watch in _watched:
        if watch.late:
            raise ResourceError(late(watch.verb, watch.requests, watch.settings))


def holds_nothing(requests: Sequence[Request]) -> bool:
    """Whether some request has no room on the cluster, and no process of this job holds any of its kind."""
    cluster = look()
    lacking = [r for r in requests if cluster.room(r.needs) < r.begin]
    return bool(lacking) and not _holds({name for request in lacking for name in request.needs})


def _holds(resources: set[str]) -> bool:
    """Whether this job's processes or its placement groups hold any of these resources."""
    from ray._private.internal_api import node_stats

    job = ray.get_runtime_context().get_job_id()
    groups: dict[str, dict[str, Any]] = placement_group_table()
    if any(g["state"] == "CREATED" and name.endswith(job) for name, g in groups.items()):
        return True
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    for node in nodes:
        if not node["Alive"]:
            continue
        stats: Any = node_stats(  # type: ignore[no-untyped-call]
            node["NodeManagerAddress"], node["NodeManagerPort"], include_memory_info=False
        )
        for process in stats.core_workers_stats:
            if process.job_id.hex() == job and resources & {_kind(key) for key in process.used_resources}:
                return True
    return False


def _kind(key: str) -> str:
    """ "CPU" of "CPU" and of "CPU_group_<id>", which is what a process in a placement group holds."""
    return key.partition("_group_")[0]
