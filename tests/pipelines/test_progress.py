"""Progress lines: rows, rate, and a time left that is right soon, also when the work was slow to begin."""

from __future__ import annotations

import random

import pytest

from pipelines.progress import Progress


class Clock:
    """A time that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def ratios(ends: list[float], parallel: int, since: int = 0) -> list[float]:
    """Estimate / truth whenever something was finished, once a tenth of all is, and the piece `since`.

    `ends`: seconds from the begin, ascending, at which each piece of work was finished.
    """
    at = Clock()
    progress = Progress("build", len(ends), out=lambda _: None, parallel=parallel, clock=at)
    found = []
    for place, end in enumerate(ends):
        at.now = end
        progress.add(1)
        left = progress.seconds_left()
        if (
            place >= since and 0.1 <= progress.done / progress.total < 0.9
        ):  # the last pieces are as long as they are
            assert left is not None
            found.append(left / (ends[-1] - end))
    return found


def work(start: float, pieces: int, parallel: int, spread: float, seed: int = 0) -> list[float]:
    """When pieces of about a second end that so many processes share, each after a start."""
    lengths = random.Random(seed)
    free = [start + 0.1 * lengths.random() for _ in range(parallel)]
    ends = []
    for _ in range(pieces):
        first = free.index(min(free))
        free[first] += lengths.uniform(1 - spread, 1 + spread)
        ends.append(free[first])
    return sorted(ends)


def test_before_every_process_has_finished_twice_the_time_is_an_upper_bound() -> None:
    at = Clock()
    lines: list[str] = []
    progress = Progress("embed", 10, "vectors", every=0.0, out=lines.append, parallel=2, clock=at)
    for second in (20.0, 20.0, 22.0):
        at.now = second
        progress.add(1)
    assert lines == [
        "embed: 1/10 vectors (10 %), 0.1/s, at most 3 min 0 s left",
        "embed: 3/10 vectors (30 %), 1.0/s, 7 s left",
    ]


def test_lines_come_often_at_first_and_every_half_minute_in_the_end() -> None:
    at = Clock()
    told: list[float] = []
    progress = Progress("build", 20_000, out=lambda _: told.append(at.now), clock=at)
    for second in range(1, 10_001):
        at.now = second
        progress.add(2)
    assert told[:3] == [2.0, 4.0, 6.0]
    assert [later - earlier for earlier, later in zip(told[-5:-1], told[-4:], strict=True)][:3] == [30.0] * 3
    assert told[-1] == 10_000


@pytest.mark.parametrize("parallel", [1, 2, 8])
@pytest.mark.parametrize("start", [0.0, 4.0, 30.0])
def test_after_a_tenth_it_is_right_within_a_factor_of_one_and_a_half(start: float, parallel: int) -> None:
    for seed in range(5):
        found = ratios(work(start, 40 * parallel, parallel, spread=0.3, seed=seed), parallel)
        assert all(1 / 1.5 < ratio < 1.5 for ratio in found), (min(found), max(found))


def test_a_store_that_was_out_for_minutes_does_not_count() -> None:
    ends = work(4.0, 80, 2, spread=0.3)
    out = [end + (180.0 if place >= 20 else 0.0) for place, end in enumerate(ends)]
    assert all(1 / 1.5 < ratio < 1.5 for ratio in ratios(out, 2, since=20))


BUILD = (
    *((86.4, 32), (90.5, 416), (95.6, 608), (99.2, 992), (103.1, 1248), (107.7, 1632), (113.2, 1952)),
    *((118.2, 2112), (123.0, 2496), (129.3, 2816), (135.9, 3136), (141.5, 3616), (147.5, 4128)),
    *((153.9, 4544), (161.3, 4864), (168.9, 5152), (170.7, 5280)),
)
"""(seconds, rows done) of a real build of 165 shards on Ray, on a machine with much other work."""


def test_a_real_build_that_was_long_to_start() -> None:
    at = Clock()
    progress = Progress("build", 5280, out=lambda _: None, clock=at)
    for second, rows in BUILD:
        at.now = second
        progress.add(rows - progress.done)
        left = progress.seconds_left()
        if 0.1 <= rows / progress.total < 0.9:
            assert left is not None
            assert 1 / 1.5 < left / (BUILD[-1][0] - second) < 1.5
