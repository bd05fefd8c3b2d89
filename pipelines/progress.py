"""One progress line for long work: rows, rate and time left."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

Say = Callable[[str], None]


def say(text: str) -> None:
    """Print a line for a person, now."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


class Progress:
    """Prints "what done/total unit, rate, time left", at most every `every` seconds and at the end."""

    def __init__(self, what: str, total: int, unit: str = "rows", every: float = 2.0, out: Say = say) -> None:
        self.what, self.total, self.unit, self.every, self.out = what, total, unit, every, out
        self.done = 0
        self._started = self._printed = time.monotonic()

    def add(self, count: int) -> None:
        """Count finished units."""
        self.done += count
        now = time.monotonic()
        if self.done >= self.total or now - self._printed >= self.every:
            self._printed = now
            self.out(self.line(now - self._started))

    def line(self, seconds: float) -> str:
        """The line after so many seconds."""
        rate = self.done / seconds if seconds > 0 else 0.0
        left = f"{duration((self.total - self.done) / rate)} left" if rate else "time left unknown"
        share = 100 * self.done / self.total if self.total else 100
        return f"{self.what}: {self.done}/{self.total} {self.unit} ({share:.0f} %), {rate:.1f}/s, {left}"


def duration(seconds: float) -> str:
    """90 -> "1 min 30 s"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
