"""One progress line for long work: rows, rate and time left; how values are written in lines."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Any

Say = Callable[[str], None]

_RECENT = 1024
"""Reports from which the rate is taken, at most; earlier ones are forgotten."""
_PAUSE, _PAUSE_S = 10.0, 20.0
"""So many times the longest time between two reports of a process, and seconds, are a pause of the work."""


def say(text: str) -> None:
    """Print a line for a person, now."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


class Pace:
    """Seconds a unit takes, from when units were finished; what went before the first does not count.

    Processes start, load weights and read their first input before anything is finished: once each of the
    parallel ones has finished something, time is taken between two reports of one process, and the earlier
    half fades. A pause far longer than any before, as while a store is out, does not count.

    Args:
        began: when the work began, in seconds.
        parallel: processes that work at the same time, and report one after another.

    >>> pace = Pace(began=0.0, parallel=2)
    >>> for done, now in ((1, 20.0), (2, 20.1)):  # of both, the first: 20 s, most of them to start
    ...     pace.finished(done, now)
    >>> round(pace.unit_s(), 1)
    10.1
    >>> for done, now in ((3, 22.0), (4, 22.1)):
    ...     pace.finished(done, now)
    >>> round(pace.unit_s(), 1)
    1.0
    """

    def __init__(self, began: float, parallel: int = 1) -> None:
        self.parallel = max(1, parallel)
        self._began = began
        self._ends: deque[tuple[int, float]] = deque(maxlen=_RECENT + 2 * self.parallel)
        self._longest = 0.0
        self._paused = 0.0

    def finished(self, done: int, now: float) -> None:
        """So many units in all are done now."""
        now -= self._paused
        if len(self._ends) >= self.parallel:
            between = now - self._ends[-self.parallel][1]
            if self._longest and between > max(_PAUSE_S, _PAUSE * self._longest):
                self._paused += between - self._longest
                now -= between - self._longest
            else:
                self._longest = max(self._longest, between)
        self._ends.append((done, now))

    @property
    def is_settled(self) -> bool:
        """Whether some process has finished twice; before, the start counts, and a unit takes less."""
        return len(self._ends) > self.parallel

    def unit_s(self) -> float | None:
        """Seconds a unit, of all processes together; None before anything was finished."""
        if not self._ends or not self._ends[-1][0]:
            return None
        count = len(self._ends)
        if not self.is_settled:
            done, now = self._ends[-1]
            return (now - self._began) / done
        later = max(self.parallel, count // 2)
        units = seconds = 0.0
        earlier = islice(self._ends, later - self.parallel, None)
        for (was_done, was), (done, now) in zip(earlier, islice(self._ends, later, None), strict=False):
            units += done - was_done
            seconds += now - was
        return seconds / units if units else None


class Progress:
    """Prints "what done/total unit, rate, time left": at the end, and often while the work is young.

    Args:
        what: the verb or stage.
        total: units in all.
        unit: their name.
        every: seconds between two lines at first; half a minute in work of hours.
        out: takes the lines.
        parallel: processes that work at the same time.
        clock: seconds.
    """

    def __init__(
        self,
        what: str,
        total: int,
        unit: str = "rows",
        every: float = 2.0,
        out: Say = say,
        parallel: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.what, self.total, self.unit, self.every, self.out = what, total, unit, every, out
        self.done = 0
        self._clock = clock
        self._started = self._printed = clock()
        self._pace = Pace(self._started, parallel)

    def add(self, count: int) -> None:
        """Count finished units."""
        self.done += count
        now = self._clock()
        self._pace.finished(self.done, now)
        pause = max(self.every, min(30.0, (now - self._started) / 20))
        if self.done >= self.total or now - self._printed >= pause:
            self._printed = now
            self.out(self.line())

    def seconds_left(self) -> float | None:
        """The estimate; None before anything was finished."""
        unit_s = self._pace.unit_s()
        return None if unit_s is None else (self.total - self.done) * unit_s

    def line(self) -> str:
        """What is done, how fast it goes, and how long it still takes."""
        seconds, unit_s = self.seconds_left(), self._pace.unit_s()
        rate = "" if not unit_s else f", {1 / unit_s:.1f}/s"
        most = "" if self._pace.is_settled or not seconds else "at most "
        left = "time left unknown" if seconds is None else f"{most}{duration(seconds)} left"
        share = 100 * self.done / self.total if self.total else 100
        return f"{self.what}: {self.done}/{self.total} {self.unit} ({share:.0f} %){rate}, {left}"


def duration(seconds: float) -> str:
    """90 -> "1 min 30 s"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def short(value: Any) -> str:
    """A drawn value in a line or a table.

    >>> short(0.000123456), short("cosine")
    ('0.0001235', 'cosine')
    """
    return f"{value:.4g}" if isinstance(value, float) else str(value)
