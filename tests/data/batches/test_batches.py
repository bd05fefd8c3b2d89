"""Batches of P x K: what is in them, and how often each capture is; refusals."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reid.config import AugmentConfig
from reid.data.shards.schema import Caption, Sample
from reid.data.shards.shard_set import ShardSet
from reid.errors import ConfigError, DataError, TrainingError
from reid.modality import ORDER, Modality
from tests.support.sets.shards import make_identities, make_sample, make_shards
from tests.support.sets.streams import (
    assert_pk,
    classical,
    ids,
    names,
    once_over,
    scattered,
    stream,
)

RGB, NIR, SKETCH, TEXT = Modality.RGB, Modality.NIR, Modality.SKETCH, Modality.TEXT


@pytest.mark.parametrize("reservoir", [1, 30, 1000])
def test_every_batch_is_k_of_each_of_p_identities(uneven: ShardSet, reservoir: int) -> None:
    source = stream(uneven, identities=4, instances=4, reservoir_rows=reservoir)
    batches = list(source.epoch(0, 30))
    assert len(batches) == 30
    for batch in batches:
        assert_pk(batch, 4, 4)
        assert [name.split("-")[0] for name in ids(batch)] == [f"p{pid}" for pid in batch.pid.tolist()]


def test_a_picture_is_the_one_its_name_says(uneven: ShardSet) -> None:
    batch = next(stream(uneven, identities=4, instances=2).epoch(0, 1))
    for name, image in zip(ids(batch), batch.images[RGB], strict=True):
        pid, number = name.removeprefix("p").split("-")
        assert image[:, 0, 0].round().int().tolist() == [int(pid), int(number), ORDER.index(RGB)]


def test_a_set_that_fits_is_drawn_as_the_classical_sampler_draws(uneven: ShardSet) -> None:
    sizes = list(uneven.identities("train").values())
    source = stream(uneven, identities=4, instances=4)
    epochs = 300
    ours, theirs = [], []
    drawn: Counter[int] = Counter()
    expected: Counter[int] = Counter()
    for epoch in range(epochs):
        batches = once_over(source, epoch)
        ours.append(len(batches))
        drawn.update(row.label for rows in batches for row in rows)
        reference = classical(sizes, 4, 4, epoch)
        theirs.append(len(reference))
        expected.update(pid for batch in reference for pid, _ in batch)
    assert abs(np.mean(ours) - np.mean(theirs)) < 0.25
    assert min(theirs) - 1 <= min(ours) <= max(ours) <= max(theirs) + 1
    for pid in range(len(sizes)):
        assert abs(drawn[pid] - expected[pid]) / (4 * epochs) < 0.2, pid


def test_an_identity_gives_its_whole_groups_once_and_a_small_one_repeats(uneven: ShardSet) -> None:
    batches = once_over(stream(uneven, identities=2, instances=4))
    seen = Counter(name for rows in batches for name in names(rows))
    groups = Counter(row.label for rows in batches for row in rows)
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
    seen = {p for b in source.epoch(0, source.natural_steps) for p in b.pid.tolist()}
    assert seen == set(range(12))


def test_a_bad_picture_stops_the_epoch_by_name(tmp_path: Path) -> None:
    good = make_identities([2, 2])
    bad = make_sample(2)
    broken = Sample(bad.labels, {RGB: type(bad.images[RGB])(b"broken", 8, 8)})
    shards = make_shards(tmp_path, [[*good, broken]])
    with pytest.raises(DataError, match="p2-0"):
        list(stream(shards, identities=3, instances=1).epoch(0, 3))


def test_augmentation_differs_between_steps_epochs_and_ranks(tmp_path: Path) -> None:
    shards = make_shards(tmp_path, [make_identities([1, 1])])
    draws = []
    for rank in range(2):
        source = stream(shards, rank=rank, world=2, augment=AugmentConfig(erase=1), identities=2, instances=1)
        for epoch in range(2):
            draws += [b.images[RGB] for b in source.epoch(epoch, 2)]
    noise = {tuple(d.flatten()[d.flatten() % 1 != 0].tolist()) for d in draws}
    assert len(noise) == len(draws) == 8


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


def test_too_few_identities_are_told_with_the_field(uneven: ShardSet) -> None:
    with pytest.raises(TrainingError, match=r"train\.batch\.identities: .*needs 13 identities.*has 12"):
        stream(uneven, identities=13)


def test_p_must_divide_among_the_workers(uneven: ShardSet) -> None:
    with pytest.raises(ConfigError, match=r"train\.batch\.identities: 4 is not a multiple of 3 workers"):
        stream(uneven, identities=4, world=3)
    with pytest.raises(ConfigError, match=r"2 is not a multiple of 64 workers.*\{per_rank: 1\}"):
        stream(uneven, identities=2, world=64)


def test_p_by_the_rule_grows_with_the_workers(uneven: ShardSet) -> None:
    fixed = [stream(uneven, identities=6, instances=2, rank=r, world=3) for r in range(3)]
    ruled = [stream(uneven, identities={"per_rank": 2}, instances=2, rank=r, world=3) for r in range(3)]
    assert ruled[0].natural_steps == fixed[0].natural_steps
    for ours, theirs in zip(ruled, fixed, strict=True):
        rows = [names(rows) for rows in once_over(ours)]
        assert rows == [names(rows) for rows in once_over(theirs)]


def test_the_rule_is_refused_where_it_asks_for_more_identities_than_there_are(uneven: ShardSet) -> None:
    with pytest.raises(TrainingError, match=r"needs 16 identities \(4 per rank\).*has 12"):
        stream(uneven, identities={"per_rank": 4}, world=4)
