"""Reading ahead: in order, within its bound, and errors in their turn."""

from __future__ import annotations

import threading
import time

import pytest

from reid.data.batches.read_ahead import read_ahead
from reid.data.shards.shard_set import ShardSet
from tests.support.sets.streams import CountingShards, names, once_over, stream


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("limit", [0, 1, 5, 1000])
def test_items_come_in_order(limit: float, threads: int) -> None:
    def read(group: int) -> int:
        time.sleep(0.002 * (group % 3))
        return group * 10

    found = list(read_ahead(list(range(20)), read, lambda _: 1, limit, threads))
    assert found == [group * 10 for group in range(20)]


def test_reading_goes_on_while_an_item_is_used_up_to_the_limit() -> None:
    begun: list[int] = []
    ready = threading.Event()

    def read(group: int) -> int:
        begun.append(group)
        if len(begun) == 4:
            ready.set()
        return group

    source = read_ahead(list(range(50)), read, lambda _: 2.0, 8, 2)
    assert next(source) == 0
    assert ready.wait(5), "three more wait while the first is used: 8 bytes are 4 items"
    time.sleep(0.05)
    assert sorted(begun) == [0, 1, 2, 3]
    source.close()
    time.sleep(0.05)
    assert len(begun) == 4, "a closed source begins nothing more"


def test_an_item_larger_than_the_limit_is_read_alone() -> None:
    assert list(read_ahead([1, 2], lambda group: group, lambda _: 100, 1, 2)) == [1, 2]


def test_an_error_is_raised_in_its_turn() -> None:
    def read(group: int) -> int:
        if group == 2:
            raise ValueError("two")
        return group

    source = read_ahead(list(range(5)), read, lambda _: 1, 4, 2)
    assert [next(source), next(source)] == [0, 1]
    with pytest.raises(ValueError, match="two"):
        next(source)


def test_reading_ahead_changes_nothing_but_time(many: ShardSet) -> None:
    def drawn(**options: float) -> list[list[str]]:
        source = stream(many, identities=6, instances=2, reservoir_rows=40, **options)
        return [names(rows) for epoch in range(2) for rows in once_over(source, epoch)]

    alone = drawn(prefetch_mib=0)
    assert drawn(prefetch_mib=0.001) == alone == drawn(prefetch_mib=64, prefetch_threads=4)


def test_what_waits_is_bounded_by_bytes(many: ShardSet) -> None:
    """All rows are 300 bytes or so: a tenth of a row group ahead means one group."""
    counting = CountingShards.count(many)
    source = stream(counting, identities=6, instances=4, reservoir_rows=40, prefetch_mib=1e-4)
    held = [counting.alive for _ in source._one_pass(0, 0)]
    assert max(held) <= 40 + 12 + 12, "the reservoir, the group that filled it, and one ahead"
    assert len(counting.reads) == 21
