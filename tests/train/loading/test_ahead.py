"""Work ahead of its use: in order, within a bound, and nothing left running."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from reid.train.loading.ahead import made_ahead


def test_items_come_in_order_whoever_is_faster() -> None:
    gates = [threading.Event() for _ in range(3)]

    def make(i: int) -> int:
        if i + 1 < len(gates):
            gates[i + 1].wait(10)  # the later ones are done first
        gates[i].set()
        return i

    with ThreadPoolExecutor(3) as pool:
        assert list(made_ahead(iter(range(3)), pool, make, 3)) == [0, 1, 2]


def test_no_more_than_the_bound_is_drawn_ahead() -> None:
    drawn: list[int] = []

    def items() -> Iterator[int]:
        for i in range(10):
            drawn.append(i)
            yield i

    with ThreadPoolExecutor(2) as pool:
        for i in made_ahead(items(), pool, lambda x: x, 2):
            # Two wait, one is in use, and one is drawn and waits for room.
            assert len(drawn) <= i + 4
    assert drawn == list(range(10))


@pytest.mark.parametrize("where", ["items", "make"])
def test_an_error_comes_at_its_turn(where: str) -> None:
    def items() -> Iterator[int]:
        yield from (0, 1)
        if where == "items":
            raise KeyError("drawn")
        yield 2

    def make(i: int) -> int:
        if i == 2:
            raise KeyError("made")
        return i

    with ThreadPoolExecutor(2) as pool:
        ahead = made_ahead(items(), pool, make, 4)
        assert [next(ahead), next(ahead)] == [0, 1]
        with pytest.raises(KeyError):
            next(ahead)


def test_closing_it_closes_the_iterator_and_ends_its_thread() -> None:
    closed = threading.Event()

    def items() -> Iterator[int]:
        try:
            yield from range(100)
        finally:
            closed.set()

    before = threading.active_count()
    with ThreadPoolExecutor(1) as pool:
        ahead = made_ahead(items(), pool, lambda x: x, 2)
        assert next(ahead) == 0
        ahead.close()
    assert closed.is_set()
    assert threading.active_count() == before
