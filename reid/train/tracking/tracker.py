"""What a tracker is: a service or file format that a training's metrics also go to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

_MOST_WAITING = 50_000
_TRY_AGAIN_S = 60.0


@dataclass(frozen=True)
class RunFacts:
    """What trackers are told of a run once.

    Args:
        run: uri of the run folder.
        name: the configuration's name.
        config: the resolved configuration, JSON-able.
        facts: fingerprints of data and code, version, counts, where the weights started from.
        key: names the run in trackers; the same when it is resumed.
    """

    run: str
    name: str
    config: dict[str, Any]
    facts: dict[str, Any]
    key: str


@dataclass(frozen=True)
class Logged:
    """Metrics at a place of the training: `total` optimiser steps, `epoch` whole epochs done."""

    total: int
    epoch: int
    metrics: dict[str, float]
    time: float = field(default_factory=time.time)


class Tracker:
    """Takes a run's metrics; its methods are called in order from one thread, and may block or raise."""

    name = "tracker"

    def begin(self, total: int) -> None:
        """Open the run, or go on with it after `total` steps: what was logged beyond does not count."""

    def log(self, at: Logged) -> None:
        """Take metrics."""

    def end(self, why: str, final: Mapping[str, float]) -> None:
        """Close the run: finished, stopped or failed, with its final metrics."""


class Background:
    """Runs a tracker in a thread of its own: it may be slow or fail, and training goes on.

    Args:
        tracker: the tracker.
        tell: gets a line for its first failure, and one in the end with the number of all.

    >>> class Printed(Tracker):
    ...     def log(self, at: Logged) -> None:
    ...         print(at.total, at.metrics)
    >>> tracker = Background(Printed(), print)
    >>> tracker.begin(0), tracker.log(Logged(10, 0, {"loss": 2.0}))
    (None, None)
    >>> tracker.end("finished", {}, wait_s=10.0)
    10 {'loss': 2.0}
    True
    """

    def __init__(self, tracker: Tracker, tell: Callable[[str], None]) -> None:
        self.tracker, self.tell = tracker, tell
        self.failures, self.lost = 0, 0
        self._waiting: list[tuple[str, Callable[[], None]]] = []
        self._changed = threading.Condition()
        self._is_over = False
        self._is_open = False
        self._opened_at: float | None = None
        self._total = 0
        self._thread = threading.Thread(target=self._work, name=f"tracker-{tracker.name}", daemon=True)

    def begin(self, total: int) -> None:
        """Open the run, soon; a second call goes back to `total` steps."""
        self._total = total
        self._put("begin", lambda: None)
        if not self._thread.is_alive():
            self._thread.start()

    def log(self, at: Logged) -> None:
        """Pass metrics on, soon."""
        self._put("log", lambda: self.tracker.log(at))

    def end(self, why: str, final: Mapping[str, float], wait_s: float = 30.0) -> bool:
        """Close the run, and wait so long for what is not passed on; whether all was."""
        self._put("end", lambda: self.tracker.end(why, final))
        with self._changed:
            done = self._changed.wait_for(lambda: not self._waiting, wait_s)
            self._is_over = True
            self._changed.notify_all()
            lost = self.lost + len([kind for kind, _ in self._waiting if kind == "log"])
        if not done and not self.failures:
            self.tell(
                f"{self.tracker.name}: does not end within {wait_s:.0f} s; what it lacks is in the table"
            )
        elif lost or self.failures:
            self.tell(
                f"{self.tracker.name}: {self.failures} failures, {lost} reports lost; the table has them"
            )
        return done and not self.failures

    def _put(self, kind: str, call: Callable[[], None]) -> None:
        with self._changed:
            self._waiting.append((kind, call))
            if len(self._waiting) > _MOST_WAITING:
                self.lost += 1
                del self._waiting[0]
            self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._is_over)
                if self._is_over:
                    return
                kind, call = self._waiting[0]
            if kind == "begin":
                self._is_open, self._opened_at = False, None
            self._try(kind, call)
            with self._changed:
                if self._waiting and self._waiting[0][1] is call:
                    del self._waiting[0]
                self._changed.notify_all()

    def _try(self, kind: str, call: Callable[[], None]) -> None:
        """A tracker that cannot be opened is tried again at times; its reports until then are lost."""
        try:
            if not self._is_open:
                now = time.monotonic()
                if self._opened_at is not None and now - self._opened_at < _TRY_AGAIN_S:
                    self.lost += kind == "log"
                    return
                self._opened_at = now
                self.tracker.begin(self._total)
                self._is_open = True
            call()
        except Exception as error:  # whatever a tracker's library raises: it only tells
            self.failures += 1
            self.lost += kind == "log"
            if self.failures == 1:
                told = str(error).strip().partition("\n")[0]
                self.tell(f"{self.tracker.name}: {type(error).__name__}: {told}; training goes on without it")
