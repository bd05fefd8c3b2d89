"""Streaming batches: who is drawn, how often, on which rank, and that a resumed epoch is the same epoch."""

from __future__ import annotations

import random
import weakref
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reid.config import AugmentConfig, BatchConfig
from reid.data import collate
from reid.data.batch import Batch, join
from reid.data.batches import BatchStream, StreamPlace
from reid.data.collate import Collator, Row
from reid.data.schema import Caption, Sample
from reid.data.shards import GroupRef, Identity, ShardSet
from reid.errors import ConfigError, DataError, TrainingError
from reid.modality import ORDER, Modality
from tests.data.making import data_config, make_identities, make_sample, make_shards

RGB, NIR, SKETCH, TEXT = Modality.RGB, Modality.NIR, Modality.SKETCH, Modality.TEXT
RANK = {m: i for i, m in enumerate(ORDER)}


class CountingShards(ShardSet):
    """Remembers which row groups were read, and how many of their samples are still alive."""

    reads: list[tuple[str, int]]
    alive: int

    @classmethod
    def count(cls, shards: ShardSet) -> CountingShards:
        counting = cls(shards.root, shards.manifest)
        counting.reads, counting.alive = [], 0
        return counting

    def read_group(self, group: GroupRef) -> list[Sample]:
        self.reads.append((group.file, group.index))
        samples = super().read_group(group)
        self.alive += len(samples)
        for sample in samples:
            weakref.finalize(sample, self._gone)
        return samples

    def _gone(self) -> None:
        self.alive -= 1


def stream(
    shards: ShardSet,
    modalities: Sequence[Modality] = (RGB,),
    *,
    rank: int = 0,
    world: int = 1,
    seed: int = 0,
    augment: AugmentConfig | None = None,
    labels: dict[Identity, int] | None = None,
    **batch: Any,
) -> BatchStream:
    if labels is None:
        labels = {identity: i for i, identity in enumerate(shards.identities("train"))}
    collator = Collator(data_config(modalities), augment=augment)
    place = StreamPlace(seed, rank, world)
    return BatchStream(shards, labels, tuple(modalities), BatchConfig(**batch), collator, place)


def once_over(source: BatchStream, epoch: int = 0) -> list[list[Row]]:
    """The batches of one lap over this rank's identities, undecoded."""
    return list(source._lap(epoch, 0))


def names(rows: Sequence[Row]) -> list[str]:
    return [next(iter(row.parts.values())).sample_id or "" for row in rows]


def ids(batch: Batch) -> list[str]:
    return [next(name for name in row if name) for row in batch.sample_id]


def equal(one: Batch, two: Batch) -> bool:
    return (
        one.sample_id == two.sample_id
        and torch.equal(one.pid, two.pid)
        and one.images.keys() == two.images.keys()
        and all(torch.equal(one.images[m], two.images[m]) for m in one.images)
    )


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> ShardSet:
    """12 identities of 1 to 23 rows in small row groups."""
    sizes = [4, 9, 2, 23, 8, 5, 1, 12, 16, 7, 4, 3]
    return make_shards(tmp_path_factory.mktemp("uneven"), [make_identities(sizes)], rows_per_group=10)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> ShardSet:
    """60 identities of 4 rows, 3 identities a row group, 3 files."""
    samples = make_identities([4] * 60)
    shards = [samples[i : i + 80] for i in range(0, 240, 80)]
    return make_shards(tmp_path_factory.mktemp("many"), shards, rows_per_group=12)


def assert_pk(batch: Batch, p: int, k: int) -> None:
    assert len(batch) == p * k
    assert sorted(Counter(batch.pid.tolist()).values()) == [k] * p


@pytest.mark.parametrize("reservoir", [1, 30, 1000])
def test_every_batch_is_k_of_each_of_p_identities(uneven: ShardSet, reservoir: int) -> None:
    source = stream(uneven, identities=4, instances=4, reservoir_rows=reservoir)
    batches = list(source.epoch(0, 30, threads=0))
    assert len(batches) == 30
    for batch in batches:
        assert_pk(batch, 4, 4)
        assert [name.split("-")[0] for name in ids(batch)] == [f"p{pid}" for pid in batch.pid.tolist()]


def test_a_picture_is_the_one_its_name_says(uneven: ShardSet) -> None:
    batch = next(stream(uneven, identities=4, instances=2).epoch(0, 1, threads=0))
    for name, image in zip(ids(batch), batch.images[RGB], strict=True):
        pid, number = name.removeprefix("p").split("-")
        assert image[:, 0, 0].round().int().tolist() == [int(pid), int(number), RANK[RGB]]


def classical(sizes: Sequence[int], p: int, k: int, seed: int) -> list[list[tuple[int, int]]]:
    """The sampler of the public re-identification codebases, as its description says."""
    source = random.Random(seed)
    left: dict[int, list[list[int]]] = {}
    for pid, size in enumerate(sizes):
        own = list(range(size))
        if size < k:
            own += [source.randrange(size) for _ in range(k - size)]
        source.shuffle(own)
        left[pid] = [own[i : i + k] for i in range(0, len(own) - k + 1, k)]
    batches = []
    while len(left) >= p:
        batch = []
        for pid in source.sample(sorted(left), p):
            batch += [(pid, n) for n in left[pid].pop()]
            if not left[pid]:
                del left[pid]
        batches.append(batch)
    return batches


def test_a_set_that_fits_is_drawn_as_the_classical_sampler_draws(uneven: ShardSet) -> None:
    sizes = list(uneven.identities("train").values())
    source = stream(uneven, identities=4, instances=4)
    epochs = 300
    ours, theirs = [], []
    drawn: Counter[int] = Counter()
    expected: Counter[int] = Counter()
    for epoch in range(epochs):
        lap = once_over(source, epoch)
        ours.append(len(lap))
        drawn.update(row.label for rows in lap for row in rows)
        reference = classical(sizes, 4, 4, epoch)
        theirs.append(len(reference))
        expected.update(pid for batch in reference for pid, _ in batch)
    assert abs(np.mean(ours) - np.mean(theirs)) < 0.25
    assert min(theirs) - 1 <= min(ours) <= max(ours) <= max(theirs) + 1
    for pid in range(len(sizes)):
        assert abs(drawn[pid] - expected[pid]) / (4 * epochs) < 0.2, pid


def test_an_identity_gives_its_whole_groups_once_and_a_small_one_repeats(uneven: ShardSet) -> None:
    lap = once_over(stream(uneven, identities=2, instances=4))
    seen = Counter(name for rows in lap for name in names(rows))
    groups = Counter(row.label for rows in lap for row in rows)
    sizes = list(uneven.identities("train").values())
    for pid, size in enumerate(sizes):
        assert groups[pid] <= 4 * max(1, size // 4)
        own = [count for name, count in seen.items() if name.startswith(f"p{pid}-")]
        if size >= 4:
            assert set(own) <= {1}, "without replacement"
        elif own:
            assert sum(own) == 4
            assert len(own) <= size
    # With two identities a batch hardly anything is left over at the end.
    assert sum(n > 0 for n in groups.values()) >= len(sizes) - 1


def test_small_identities_show_every_picture_they_have(tmp_path: Path) -> None:
    shards = make_shards(tmp_path, [make_identities([3, 3])])
    for rows in once_over(stream(shards, identities=2, instances=8)):
        assert set(names(rows)) == {f"p{pid}-{n}" for pid in range(2) for n in range(3)}


def test_steps_go_once_over_the_groups(tmp_path: Path, uneven: ShardSet) -> None:
    sizes = list(uneven.identities("train").values())
    groups = sum(max(1, n // 4) for n in sizes)
    source = stream(uneven, identities=4, instances=4)
    assert source.natural_steps == groups // 4
    # Two pictures an identity, four instances: an epoch must still see everybody.
    pairs = make_shards(tmp_path, [make_identities([2] * 12)])
    source = stream(pairs, identities=4, instances=4)
    seen = {p for b in source.epoch(0, source.natural_steps, threads=0) for p in b.pid.tolist()}
    assert seen == set(range(12))


@pytest.mark.parametrize("reservoir", [30, 1000])
def test_batches_are_a_function_of_seed_epoch_and_rank(uneven: ShardSet, reservoir: int) -> None:
    def draw(epoch: int = 0, **place: int) -> list[list[str]]:
        source = stream(uneven, identities=4, instances=2, reservoir_rows=reservoir, **place)
        return [ids(b) for b in source.epoch(epoch, 6, threads=0)]

    first = draw()
    assert draw() == first
    assert draw(epoch=1) != first
    assert draw(seed=1) != first
    assert draw(world=2) != draw(world=2, rank=1)
    again = stream(uneven, identities=4, instances=2, reservoir_rows=reservoir)
    list(again.epoch(7, 3, threads=0))
    assert [ids(b) for b in again.epoch(0, 6, threads=0)] == first, "whatever was drawn before"


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
        pairs = list(zip(*(r.epoch(epoch, steps, threads=0) for r in ranks), strict=True))
        assert len(pairs) == steps, "equal steps on both ranks"
        for pair in pairs:
            assert_pk(join(list(pair)), 4, 2 if sampler == "pk" else 1)


def test_a_short_rank_goes_over_its_part_again(uneven: ShardSet) -> None:
    ranks = [stream(uneven, rank=r, world=2, identities=4, instances=4) for r in range(2)]
    drawn = []
    for rank in ranks:
        steps = 4 * len(once_over(rank))
        batches = list(rank.epoch(0, steps, threads=0))
        assert len(batches) == steps
        drawn.append({pid for batch in batches for pid in batch.pid.tolist()})
    assert not drawn[0] & drawn[1], "its own part, in every lap"
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
            dealt = next(source._groups(np.random.default_rng(epoch)))
            assert len(dealt) == 6
            shares.append(sum(map(len, dealt.values())))
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
            lap = once_over(source)
            seen |= {row.label for rows in lap for row in rows}
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
    source = stream(counting, identities=6, instances=4, reservoir_rows=40)
    held, more_to_come = [], []
    for _ in source._lap(0, 0):
        held.append(counting.alive)
        more_to_come.append(len(counting.reads) < 21)
    assert max(held) <= 40 + 12 + 12, "the reservoir, the group that filled it, and the one just dealt out"
    full = [rows >= 40 for rows, more in zip(held, more_to_come, strict=True) if more]
    assert len(full) > 5
    assert all(full), "it is filled up again"


def test_a_reservoir_too_small_for_p_identities_grows_to_hold_them(many: ShardSet) -> None:
    counting = CountingShards.count(many)
    source = stream(counting, identities=10, instances=4, reservoir_rows=1)
    lap = list(source._lap(0, 0))
    assert len(lap) == 6
    assert all(len({row.label for row in rows}) == 10 for rows in lap)
    held = []
    for _ in source._lap(0, 1):
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


@pytest.mark.parametrize("sampler", ["pk", "tuple"])
@pytest.mark.parametrize("reservoir", [40, 1000])
@pytest.mark.parametrize("start", [1, 9, 20])
def test_resuming_at_a_step_goes_on_exactly_there(
    many: ShardSet, start: int, reservoir: int, sampler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def open_stream() -> BatchStream:
        return stream(
            many,
            augment=AugmentConfig(pad=1),
            identities=6,
            instances=2,
            sampler=sampler,
            reservoir_rows=reservoir,
            modality_dropout=0.3,
        )

    whole = list(open_stream().epoch(2, 24, threads=0))
    decoded = 0
    decode = collate.decode_rgb

    def note(*arguments: Any) -> Any:
        nonlocal decoded
        decoded += 1
        return decode(*arguments)

    monkeypatch.setattr(collate, "decode_rgb", note)
    rest = list(open_stream().epoch(2, 24, start=start, threads=0))
    assert len(rest) == 24 - start
    assert all(equal(a, b) for a, b in zip(rest, whole[start:], strict=True))
    assert decoded == sum(len(b) for b in rest), "nothing that was skipped is decoded"


def test_resuming_after_the_end_gives_nothing(many: ShardSet) -> None:
    assert list(stream(many, identities=6, instances=2).epoch(0, 4, start=4)) == []


def test_an_epoch_draws_no_more_than_its_steps(many: ShardSet) -> None:
    counting = CountingShards.count(many)
    source = stream(counting, identities=6, instances=4, reservoir_rows=40)
    steps = len(once_over(stream(many, identities=6, instances=4, reservoir_rows=40)))
    for threads in (0, 2):
        counting.reads.clear()
        assert len(list(source.epoch(0, steps, threads=threads))) == steps
        assert len(counting.reads) == 21, "the next lap is not begun"


def test_threads_change_nothing_but_time(uneven: ShardSet) -> None:
    def draw(threads: int) -> list[Batch]:
        source = stream(uneven, augment=AugmentConfig(), identities=4, instances=2)
        return list(source.epoch(1, 12, threads=threads))

    alone = draw(0)
    for threads in (1, 2):
        assert all(equal(a, b) for a, b in zip(alone, draw(threads), strict=True))


@pytest.mark.parametrize("threads", [0, 2])
def test_a_bad_picture_stops_the_epoch_by_name(tmp_path: Path, threads: int) -> None:
    good = make_identities([2, 2])
    bad = make_sample(2)
    broken = Sample(bad.labels, {RGB: type(bad.images[RGB])(b"broken", 8, 8)})
    shards = make_shards(tmp_path, [[*good, broken]])
    with pytest.raises(DataError, match="p2-0"):
        list(stream(shards, identities=3, instances=1).epoch(0, 3, threads=threads))


def test_augmentation_differs_between_steps_epochs_and_ranks(tmp_path: Path) -> None:
    shards = make_shards(tmp_path, [make_identities([1, 1])])
    draws = []
    for rank in range(2):
        source = stream(shards, rank=rank, world=2, augment=AugmentConfig(erase=1), identities=2, instances=1)
        for epoch in range(2):
            draws += [b.images[RGB] for b in source.epoch(epoch, 2, threads=0)]
    noise = {tuple(d.flatten()[d.flatten() % 1 != 0].tolist()) for d in draws}
    assert len(noise) == len(draws) == 8


# Tuples: anchored on RGB, other modalities from the same identity.


def scattered() -> list[Sample]:
    """6 identities: pictures in RGB only, others in NIR only, a sketch and a text somewhere."""
    samples = []
    for pid, size in enumerate([3, 5, 2, 6, 4, 4]):
        samples += [make_sample(pid, n, [RGB]) for n in range(size)]
        samples += [make_sample(pid, 10 + n, [NIR]) for n in range(3)]
        samples.append(make_sample(pid, 20, [SKETCH, TEXT]))
    return samples


def test_tuples_take_every_anchor_once_when_that_is_possible(tmp_path: Path) -> None:
    shards = make_shards(tmp_path, [scattered()])
    for epoch in range(20):
        lap = once_over(stream(shards, [RGB, NIR], sampler="tuple", identities=4), epoch)
        assert all(len({row.label for row in rows}) == 4 for rows in lap)
        anchors = Counter(row.parts[RGB].sample_id for rows in lap for row in rows)
        assert len(lap) == 24 // 4
        assert len(anchors) == 24
        assert set(anchors.values()) == {1}


def test_tuples_go_as_far_as_distinctness_allows(tmp_path: Path) -> None:
    # The two large ones cannot both be emptied: 12 batches of 3 would need 12 others than they.
    shards = make_shards(tmp_path, [make_identities([20, 20, 2, 3, 1])])
    for epoch in range(10):
        lap = once_over(stream(shards, sampler="tuple", identities=3), epoch)
        assert len(lap) == 6
        rare = Counter(row.label for rows in lap for row in rows)
        assert [rare[pid] for pid in range(5)] == [6, 6, 2, 3, 1]


def test_tuple_parts_are_of_one_identity_and_vary(tmp_path: Path) -> None:
    shards = make_shards(tmp_path, [scattered()])
    source = stream(shards, [RGB, NIR, SKETCH, TEXT], sampler="tuple", identities=4)
    partners = defaultdict(set)
    for epoch in range(6):
        for rows in once_over(source, epoch):
            for row in rows:
                assert list(row.parts) == [RGB, NIR, SKETCH, TEXT]
                assert {str(p.sample_id).split("-")[0] for p in row.parts.values()} == {f"p{row.label}"}
                partners[row.label].add(row.parts[NIR].sample_id)
    assert all(len(found) == 3 for found in partners.values())


def test_tuples_of_two_ranks_are_distinct_and_cover_the_anchors(tmp_path: Path) -> None:
    shards = make_shards(tmp_path, [make_identities([4] * 12)])
    for epoch in range(5):
        laps = [
            once_over(stream(shards, rank=r, world=2, sampler="tuple", identities=6), epoch) for r in range(2)
        ]
        assert [len(lap) for lap in laps] == [8, 8]
        for pair in zip(*laps, strict=True):
            assert len({row.label for rows in pair for row in rows}) == 6
        assert len({name for lap in laps for rows in lap for name in names(rows)}) == 48


def test_tuple_steps_go_once_over_the_rows(tmp_path: Path) -> None:
    shards = make_shards(tmp_path, [make_identities([4] * 12)])
    assert stream(shards, sampler="tuple", identities=6).natural_steps == 8


def test_tuples_need_their_anchor_among_the_modalities(tmp_path: Path) -> None:
    shards = make_shards(tmp_path, [scattered()])
    with pytest.raises(ConfigError, match=r"train\.batch\.sampler: .*rgb.*data\.modalities"):
        stream(shards, [NIR], sampler="tuple", identities=4)


# Rows and their modalities.


def test_pk_rows_are_one_capture_each(tmp_path: Path) -> None:
    samples = make_identities([4, 4, 4], [RGB, NIR, TEXT])
    source = stream(make_shards(tmp_path, [samples]), [RGB, NIR, TEXT], identities=3, instances=2)
    for rows in once_over(source):
        for row in rows:
            assert list(row.parts) == [RGB, NIR, TEXT]
            assert len({p.sample_id for p in row.parts.values()}) == 1


def test_captions_are_drawn_at_random(tmp_path: Path) -> None:
    samples = [
        replace(s, captions=tuple(Caption(f"{s.labels.pid} {i}") for i in range(3)))
        for s in make_identities([2, 2])
    ]
    source = stream(make_shards(tmp_path, [samples]), [RGB, TEXT], identities=2, instances=2)
    said = {
        row.parts[TEXT].content for epoch in range(20) for rows in once_over(source, epoch) for row in rows
    }
    assert said == {f"{pid} {i}" for pid in range(2) for i in range(3)}


@pytest.mark.parametrize("sampler", ["pk", "tuple"])
def test_captures_of_other_modalities_make_no_empty_rows(tmp_path: Path, sampler: str) -> None:
    shards = make_shards(tmp_path, [[*scattered(), make_sample(9, 0, [SKETCH])]])
    source = stream(shards, [RGB, NIR], sampler=sampler, identities=3, instances=2)
    rows = [row for epoch in range(5) for batch in once_over(source, epoch) for row in batch]
    assert all(row.parts for row in rows)
    assert {row.label for row in rows} == set(range(6)), "nobody who cannot be seen"


def test_dropout_hides_modalities_but_never_the_last(tmp_path: Path) -> None:
    samples = make_identities([8] * 8, [RGB, NIR, SKETCH])
    shards = make_shards(tmp_path, [samples])
    source = stream(shards, [RGB, NIR, SKETCH], identities=4, instances=4, modality_dropout=0.5)
    counts = Counter(
        len(row.parts) for epoch in range(20) for rows in once_over(source, epoch) for row in rows
    )
    total = counts.total()
    # Binomial(3, 1/2), with nothing at all counted as one.
    assert set(counts) == {1, 2, 3}
    for number, share in {1: 4 / 8, 2: 3 / 8, 3: 1 / 8}.items():
        assert abs(counts[number] / total - share) < 0.05
    full = stream(shards, [RGB, NIR, SKETCH], identities=4, instances=4)
    assert {len(row.parts) for rows in once_over(full) for row in rows} == {3}


def test_dropout_leaves_a_capture_with_one_modality_alone(uneven: ShardSet) -> None:
    source = stream(uneven, identities=4, instances=2, modality_dropout=0.9)
    assert all(row.parts for rows in once_over(source) for row in rows)


# Refusals.


def test_too_few_identities_are_told_with_the_field(uneven: ShardSet) -> None:
    with pytest.raises(TrainingError, match=r"train\.batch\.identities: .*needs 13 identities.*has 12"):
        stream(uneven, identities=13)


def test_p_must_divide_among_the_workers(uneven: ShardSet) -> None:
    with pytest.raises(ConfigError, match=r"train\.batch\.identities: 4 is not a multiple of 3 workers"):
        stream(uneven, identities=4, world=3)


def test_a_rank_without_enough_identities_says_what_to_do(tmp_path: Path) -> None:
    # One row group holds everybody: the second rank of a streaming set gets none.
    shards = make_shards(tmp_path, [make_identities([2] * 8)])
    ranks = [stream(shards, rank=r, world=2, identities=4, instances=2, reservoir_rows=4) for r in range(2)]
    assert sorted(len(once_over(rank)) for rank in ranks) == [0, 4]
    (empty,) = [rank for rank in ranks if not once_over(rank)]
    with pytest.raises(TrainingError, match=r"Rank [01] has fewer than 2 .*reservoir_rows"):
        next(empty.epoch(0, 1, threads=0))
