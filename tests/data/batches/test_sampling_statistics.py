"""Streams draw as the classical in-memory sampler draws, within what chance explains.

Three counts are compared over many epochs: how often each identity, each capture and each pair of identities
in one batch is drawn. `deviation` is a chi-square statistic divided by its cells. Its threshold comes from
the classical sampler against itself, since draws without replacement scatter less than independent ones;
samplers biased on purpose show that it catches what it should.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from reid.data.batches.sample_rows import Pick
from reid.data.batches.samplers import Chunk, PKSampler, Sampler
from reid.data.shards.schema import Sample
from reid.data.shards.shard_set import GroupRef, ShardSet
from tests.support.sets.shards import make_identities, make_shards
from tests.support.sets.streams import classical, names, stream

SIZES = [3, 4, 5, 6, 7, 9, 10, 14] * 8
ROWS = sum(SIZES)
P, K, EPOCHS = 6, 4, 60
ALL_IN_MEMORY, HALF, FIFTH = 10_000, ROWS // 2, ROWS // 5
Drawn = list[tuple[int, int]]
"""A batch as (identity, capture)."""
KINDS = ("identity", "capture", "pair")


class CachedShards(ShardSet):
    """Decodes each row group once."""

    def read_group(self, group: GroupRef, columns: Sequence[str] | None = None) -> list[Sample]:
        cache = self.__dict__.setdefault("cache", {})
        if (group.file, group.index) not in cache:
            cache[group.file, group.index] = super().read_group(group, columns)
        found: list[Sample] = cache[group.file, group.index]
        return found


class Unshuffled(PKSampler):
    """Biased: the captures beyond the last whole chunk are the same ones in every epoch."""

    def split(self, samples: Sequence[Sample], rng: np.random.Generator) -> list[Chunk]:
        return super().split(samples, np.random.default_rng(0))


class WithReplacement(PKSampler):
    """Biased in spread only: every capture is as likely as another, but some come twice and some never."""

    def split(self, samples: Sequence[Sample], rng: np.random.Generator) -> list[Chunk]:
        chunks = super().split(samples, rng)
        drawn = rng.integers(0, len(samples), (len(chunks), self.config.instances)).tolist()
        return [[Pick(samples[i], [samples[i]], self.modalities) for i in one] for one in drawn]


class FirstCome(PKSampler):
    """Biased: who came first is drawn first, until used up."""

    def choose(self, left: NDArray[np.int64], size: int, rng: np.random.Generator) -> list[int]:
        return list(range(size))


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> ShardSet:
    """64 identities of 3 to 14 captures in row groups of about three."""
    made = make_shards(tmp_path_factory.mktemp("set"), [make_identities(SIZES)], rows_per_group=24)
    return CachedShards(made.root, made.manifest)


def drawn(
    shards: ShardSet, reservoir: int, epochs: int = EPOCHS, sampler: type[Sampler] | None = None
) -> Iterator[Drawn]:
    """Every batch of one pass an epoch."""
    source = stream(shards, identities=P, instances=K, reservoir_rows=reservoir)
    if sampler is not None:
        source.sampler = sampler(source.config, source.modalities)
    for epoch in range(epochs):
        for rows in source._one_pass(epoch, 0):
            assert rows is not None
            yield [(row.label, int(name.split("-")[1])) for row, name in zip(rows, names(rows), strict=True)]


def count(batches: Iterable[Drawn]) -> dict[str, Counter[Hashable]]:
    counts: dict[str, Counter[Hashable]] = {kind: Counter() for kind in KINDS}
    for batch in batches:
        counts["identity"].update(pid for pid, _ in batch)
        counts["capture"].update(batch)
        counts["pair"].update(combinations(sorted({pid for pid, _ in batch}), 2))
    return counts


def deviation(found: Mapping[Hashable, int], expected: Mapping[Hashable, int]) -> float:
    """Mean over the cells of (found - expected)^2 / expected, with equal totals."""
    scale = sum(found.values()) / sum(expected.values())
    cells = [(found.get(cell, 0), n * scale) for cell, n in expected.items()]
    return sum((n - e) ** 2 / e for n, e in cells) / len(cells)


@pytest.fixture(scope="module")
def reference() -> dict[str, Counter[Hashable]]:
    return count(batch for seed in range(800) for batch in classical(SIZES, P, K, seed))


@pytest.fixture(scope="module")
def threshold(reference: dict[str, Counter[Hashable]]) -> dict[str, float]:
    """Six standard deviations above what classical runs of other seeds deviate."""
    limits = {}
    runs = [
        count(batch for seed in range(EPOCHS) for batch in classical(SIZES, P, K, 10_000 + 100 * run + seed))
        for run in range(10)
    ]
    for kind in KINDS:
        null = [deviation(run[kind], reference[kind]) for run in runs]
        limits[kind] = float(np.mean(null) + 6 * np.std(null, ddof=1))
    return limits


def deviations(batches: Iterable[Drawn], reference: dict[str, Counter[Hashable]]) -> dict[str, float]:
    counts = count(batches)
    return {kind: deviation(counts[kind], reference[kind]) for kind in KINDS}


def test_a_set_that_fits_is_drawn_as_the_classical_sampler_draws(
    shards: ShardSet, reference: dict[str, Counter[Hashable]], threshold: dict[str, float]
) -> None:
    found = deviations(drawn(shards, ALL_IN_MEMORY), reference)
    assert all(found[kind] < threshold[kind] for kind in KINDS), (found, threshold)


@pytest.mark.parametrize("reservoir", [HALF, FIFTH])
def test_a_streamed_set_draws_identities_and_captures_as_often(
    shards: ShardSet, reservoir: int, reference: dict[str, Counter[Hashable]], threshold: dict[str, float]
) -> None:
    found = deviations(drawn(shards, reservoir), reference)
    assert found["identity"] < threshold["identity"], (found, threshold)
    assert found["capture"] < threshold["capture"], (found, threshold)


@pytest.mark.parametrize("reservoir", [ALL_IN_MEMORY, HALF, FIFTH])
@pytest.mark.parametrize(
    ("biased", "caught"),
    [(Unshuffled, "capture"), (WithReplacement, "capture"), (FirstCome, "identity")],
)
def test_the_comparison_catches_biased_samplers(
    shards: ShardSet,
    reservoir: int,
    biased: type[Sampler],
    caught: str,
    reference: dict[str, Counter[Hashable]],
    threshold: dict[str, float],
) -> None:
    found = deviations(drawn(shards, reservoir, sampler=biased), reference)
    assert found[caught] > 1.1 * threshold[caught], (found, threshold)
    if biased is FirstCome and reservoir < ALL_IN_MEMORY:
        assert found["pair"] > 5 * threshold["pair"], "row groups are drawn one after another"


def test_every_lap_is_about_as_long_as_the_classical_one(shards: ShardSet) -> None:
    theirs = np.mean([len(classical(SIZES, P, K, seed)) for seed in range(100)])
    for reservoir in (ALL_IN_MEMORY, HALF, FIFTH):
        assert len(list(drawn(shards, reservoir))) / EPOCHS == pytest.approx(theirs, rel=0.03)


@pytest.mark.parametrize(("reservoir", "most"), [(ALL_IN_MEMORY, 1.1), (HALF, 2.0), (FIFTH, 5.0)])
def test_streamed_identities_meet_everybody_and_their_row_group_not_much_more(
    shards: ShardSet, reservoir: int, most: float, reference: dict[str, Counter[Hashable]]
) -> None:
    """Row groups arrive in another order each epoch; only their own members always arrive together, which
    in a reservoir of a fraction f of the set makes them meet up to 1 / f times as often as others do."""
    pairs = count(drawn(shards, reservoir, epochs=150))["pair"]
    together = {
        pair
        for g in shards.groups("train")
        for pair in combinations(sorted(p for _, p, _ in g.identities), 2)
    }
    apart = set(combinations(range(len(SIZES)), 2)) - together
    assert len(pairs) > 0.99 * len(together | apart), "almost every two meet"
    within, across = (
        sum(pairs[pair] for pair in kind) / sum(reference["pair"][pair] for pair in kind)
        for kind in (together, apart)
    )
    assert 0.9 < within / across < most


@pytest.mark.parametrize("world", [2, 3])
@pytest.mark.parametrize("reservoir", [ALL_IN_MEMORY, FIFTH])
def test_ranks_part_the_set_in_every_epoch(shards: ShardSet, reservoir: int, world: int) -> None:
    for epoch in range(5):
        parts = []
        for rank in range(world):
            source = stream(shards, rank=rank, world=world, identities=6, reservoir_rows=reservoir)
            share = source._share(epoch)
            parts.append([entry.label for group in share.groups for entry in share.identities(group)])
        everybody = [label for part in parts for label in part]
        assert sorted(everybody) == list(range(len(SIZES))), "all of it, and nothing twice"
        assert max(map(len, parts)) <= min(map(len, parts)) + 6
