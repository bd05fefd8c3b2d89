"""Streams over row groups: who reads what, what is held, what each rank and epoch draws."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from reid.data.batches.batch import join
from reid.data.shards.shard_set import ShardSet
from reid.errors import TrainingError
from tests.support.sets.shards import make_identities, make_shards
from tests.support.sets.streams import (
    CountingShards,
    assert_pk,
    ids,
    once_over,
    stream,
)


@pytest.mark.parametrize("reservoir", [30, 1000])
def test_batches_are_a_function_of_seed_epoch_and_rank(uneven: ShardSet, reservoir: int) -> None:
    def draw(epoch: int = 0, **place: int) -> list[list[str]]:
        source = stream(uneven, identities=4, instances=2, reservoir_rows=reservoir, **place)
        return [ids(b) for b in source.epoch(epoch, 6)]

    first = draw()
    assert draw() == first
    assert draw(epoch=1) != first
    assert draw(seed=1) != first
    assert draw(world=2) != draw(world=2, rank=1)
    again = stream(uneven, identities=4, instances=2, reservoir_rows=reservoir)
    list(again.epoch(7, 3))
    assert [ids(b) for b in again.epoch(0, 6)] == first, "whatever was drawn before"


@pytest.mark.parametrize("sampler", ["pk", "tuple"])
@pytest.mark.parametrize("reservoir", [30, 1000])
def test_ranks_share_no_identity_in_a_global_batch_even_when_one_recycles(
    uneven: ShardSet, reservoir: int, sampler: str
) -> None:
    options = {"identities": 4, "instances": 2, "reservoir_rows": reservoir, "sampler": sampler}
    for epoch in range(2):
        ranks = [stream(uneven, rank=r, world=2, **options) for r in range(2)]
        steps = 2 * ranks[0].natural_steps
        assert ranks[0].natural_steps == ranks[1].natural_steps
        pairs = list(zip(*(r.epoch(epoch, steps) for r in ranks), strict=True))
        assert len(pairs) == steps, "equal steps on both ranks"
        for pair in pairs:
            assert_pk(join(list(pair)), 4, 2 if sampler == "pk" else 1)


def test_a_short_rank_goes_over_its_part_again(uneven: ShardSet) -> None:
    ranks = [stream(uneven, rank=r, world=2, identities=4, instances=4) for r in range(2)]
    drawn = []
    for rank in ranks:
        steps = 4 * len(once_over(rank))
        batches = list(rank.epoch(0, steps))
        assert len(batches) == steps
        drawn.append({pid for batch in batches for pid in batch.pid.tolist()})
    assert not drawn[0] & drawn[1], "its own part, in every pass"
    assert drawn[0] | drawn[1] == set(range(12))


def test_who_shares_a_rank_changes_from_epoch_to_epoch(many: ShardSet) -> None:
    for reservoir in (48, 1000):
        source = stream(many, rank=1, world=2, identities=4, instances=4, reservoir_rows=reservoir)
        parts = [{row.label for rows in once_over(source, e) for row in rows} for e in range(3)]
        assert len({frozenset(part) for part in parts}) == 3


def test_ranks_get_even_shares(tmp_path: Path) -> None:
    sizes = [40, 1, 2, 1, 30, 2, 1, 1, 25, 2, 1, 3]
    shards = make_shards(tmp_path, [make_identities(sizes)])
    for epoch in range(5):
        shares = []
        for rank in range(2):
            source = stream(shards, rank=rank, world=2, identities=2, instances=1)
            share = source._share(epoch)
            assigned = [entry for group in share.groups for entry in share.identities(group)]
            assert len(assigned) == 6
            shares.append(sum(entry.chunks for entry in assigned))
        assert abs(shares[0] - shares[1]) <= 40
        assert sum(shares) == sum(sizes)


def test_streaming_reads_every_row_group_once_an_epoch_over_all_ranks(many: ShardSet) -> None:
    groups = {(g.file, g.index) for g in many.groups("train")}
    assert len(groups) == 21
    for world in (1, 3):
        reads: Counter[tuple[str, int]] = Counter()
        seen: set[int] = set()
        for rank in range(world):
            counting = CountingShards.count(many)
            source = stream(counting, rank=rank, world=world, identities=6, instances=4, reservoir_rows=40)
            batches = once_over(source)
            seen |= {row.label for rows in batches for row in rows}
            reads.update(counting.reads)
        assert set(reads) == groups
        assert set(reads.values()) == {1}
        assert len(seen) >= 60 - 6, "but for what is too little for a last batch"


def test_the_order_of_row_groups_changes_from_epoch_to_epoch(many: ShardSet) -> None:
    orders = []
    for epoch in range(2):
        counting = CountingShards.count(many)
        once_over(stream(counting, identities=6, instances=4, reservoir_rows=40), epoch)
        orders.append(counting.reads)
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1])


def test_streaming_holds_no_more_than_the_reservoir_and_a_row_group(many: ShardSet) -> None:
    counting = CountingShards.count(many)
    source = stream(counting, identities=6, instances=4, reservoir_rows=40, prefetch_mib=0)
    held, more_to_come = [], []
    for _ in source._one_pass(0, 0):
        held.append(counting.alive)
        more_to_come.append(len(counting.reads) < 21)
    assert max(held) <= 40 + 12, "the reservoir, and the group that filled it"
    full = [rows >= 40 - 6 * 4 for rows, more in zip(held, more_to_come, strict=True) if more]
    assert len(full) > 5
    assert all(full), "it is filled up again"


def test_a_reservoir_too_small_for_p_identities_grows_to_hold_them(many: ShardSet) -> None:
    counting = CountingShards.count(many)
    source = stream(counting, identities=10, instances=4, reservoir_rows=1, prefetch_mib=0)
    batches = list(source._one_pass(0, 0))
    assert len(batches) == 6
    assert all(len({row.label for row in rows}) == 10 for rows in batches)
    held = []
    for _ in source._one_pass(0, 1):
        held.append(counting.alive)
    assert max(held) <= 10 * 4 + 3 * 12


def test_a_set_that_fits_is_read_once_for_all_epochs(many: ShardSet) -> None:
    counting = CountingShards.count(many)
    source = stream(counting, identities=6, instances=4)
    for epoch in range(3):
        once_over(source, epoch)
    assert len(counting.reads) == 21


def test_row_groups_without_training_identities_are_not_read(many: ShardSet) -> None:
    labels = {("made", pid): pid for pid in range(30)}
    for reservoir in (40, 1000):
        counting = CountingShards.count(many)
        source = stream(counting, labels=labels, identities=6, instances=4, reservoir_rows=reservoir)
        seen = {row.label for rows in once_over(source) for row in rows}
        assert seen <= set(range(30))
        assert len(set(counting.reads)) < 14


def test_an_epoch_draws_no_more_than_its_steps(many: ShardSet) -> None:
    counting = CountingShards.count(many)
    source = stream(counting, identities=6, instances=4, reservoir_rows=40)
    steps = len(once_over(stream(many, identities=6, instances=4, reservoir_rows=40)))
    assert len(list(source.epoch(0, steps))) == steps
    assert len(counting.reads) == 21, "the next pass is not begun"


def test_a_rank_without_enough_identities_says_what_to_do(tmp_path: Path) -> None:
    # One row group holds everybody: the second rank of a streaming set gets none.
    shards = make_shards(tmp_path, [make_identities([2] * 8)])
    ranks = [stream(shards, rank=r, world=2, identities=4, instances=2, reservoir_rows=4) for r in range(2)]
    assert sorted(len(once_over(rank)) for rank in ranks) == [0, 4]
    (empty,) = [rank for rank in ranks if not once_over(rank)]
    with pytest.raises(TrainingError, match=r"Rank [01] has fewer than 2 .*reservoir_rows"):
        next(empty.epoch(0, 1))
