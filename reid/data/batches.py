"""Streaming training batches from a shard set: identity-balanced P x K, and multi-modal tuples.

A stream is a pure function of (seed, epoch, rank, world): its state is the number of steps taken, and
resuming replays the draws without decoding anything. Row groups hold whole identities, so a bounded
reservoir of row groups is a reservoir of whole identities; a set that fits in it is kept in memory, dealt to
the ranks identity by identity, and drawn exactly as the classical sampler does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from reid.config import BatchConfig
from reid.data.batch import Batch
from reid.data.collate import Collator, Part, Row
from reid.data.schema import Sample
from reid.data.shards import GroupRef, Identity, ShardSet
from reid.errors import ConfigError, TrainingError
from reid.modality import Modality, Subset

ANCHOR = Modality.RGB
# What a random stream is for: streams of different purposes are independent.
_DEAL, _DRAW, _AUGMENT = range(3)


@dataclass(frozen=True)
class StreamPlace:
    """Which part of the global batch this process draws."""

    seed: int
    rank: int = 0
    world: int = 1


class BatchStream:
    """Batches of one rank. P identities are drawn globally, P / world by each rank, never one twice."""

    def __init__(
        self,
        shards: ShardSet,
        labels: Mapping[Identity, int],
        modalities: Subset,
        config: BatchConfig,
        collator: Collator,
        place: StreamPlace,
        split: str = "train",
    ) -> None:
        if config.identities % place.world:
            raise ConfigError(
                f"train.batch.identities: {config.identities} is not a multiple of {place.world} workers."
            )
        if len(labels) < config.identities:
            raise TrainingError(
                f"train.batch.identities: a batch needs {config.identities} identities, training has "
                f"{len(labels)}. Lower train.batch.identities or bring more data."
            )
        if config.sampler == "tuple" and ANCHOR not in modalities:
            raise ConfigError(
                f"train.batch.sampler: tuples are anchored on {ANCHOR.value}; add it to data.modalities, "
                "or use pk."
            )
        self.shards, self.labels, self.modalities = shards, labels, modalities
        self.config, self.collator, self.place = config, collator, place
        self.identities = config.identities // place.world
        self.groups = shards.groups(split)
        self.rows = sum(n for g in self.groups for d, p, n in g.identities if (d, p) in labels)
        self._small = self.rows <= config.reservoir_rows
        self._resident: list[Sample] | None = None

    @property
    def natural_steps(self) -> int:
        """Steps that go once over the training identities' groups; equal on all ranks."""
        if self.config.sampler == "tuple":
            return max(1, self.rows // self.config.identities)
        counts = (n for g in self.groups for d, p, n in g.identities if (d, p) in self.labels)
        groups = sum(max(1, n // self.config.instances) for n in counts)
        return max(1, groups // self.config.identities)

    def epoch(self, number: int, steps: int, start: int = 0, threads: int = 1) -> Iterator[Batch]:
        """Steps `start`..`steps` of an epoch, prepared ahead by `threads` threads (0: in line)."""
        tasks = islice(enumerate(self._draws(number)), start, steps)
        if threads == 0:
            for step, rows in tasks:
                yield self._collate(number, step, rows)
            return
        with ThreadPoolExecutor(threads) as pool:
            ahead: deque[Future[Batch]] = deque()
            for step, rows in tasks:
                ahead.append(pool.submit(self._collate, number, step, rows))
                if len(ahead) > threads + 1:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()

    def _collate(self, epoch: int, step: int, rows: list[Row]) -> Batch:
        return self.collator(rows, self._rng(_AUGMENT, epoch, step, self.place.rank))

    def _rng(self, purpose: int, *place: int) -> np.random.Generator:
        return np.random.default_rng([self.place.seed, purpose, *place])

    def _draws(self, epoch: int) -> Iterator[list[Row]]:
        """Endless: a short rank goes over its part again."""
        lap = 0
        while True:
            drawn = False
            for rows in self._lap(epoch, lap):
                drawn = True
                yield rows
            if not drawn:
                raise TrainingError(
                    f"Rank {self.place.rank} has fewer than {self.identities} identities in its part of the "
                    "data. Lower train.batch.identities, use fewer workers, or raise "
                    "train.batch.reservoir_rows above the number of training rows."
                )
            lap += 1

    def _lap(self, epoch: int, lap: int) -> Iterator[list[Row]]:
        """Once over this rank's identities."""
        own = self._rng(_DRAW, epoch, lap, self.place.rank)
        # Dealt once an epoch: a rank that is a lap ahead still holds nobody else's identities.
        source = self._groups(self._rng(_DEAL, epoch))
        reservoir: dict[Identity, _Pool] = {}
        held, exhausted = 0, False
        while True:
            while not exhausted and (held < self.config.reservoir_rows or len(reservoir) < self.identities):
                arrived = next(source, None)
                if arrived is None:
                    exhausted = True
                    break
                for identity, samples in arrived.items():
                    pool = self._pool(samples, own)
                    if pool.remaining:
                        reservoir[identity] = pool
                        held += len(samples)
            if len(reservoir) < self.identities:
                return
            yield self._draw(reservoir, own)
            for identity in [i for i, pool in reservoir.items() if not pool.remaining]:
                held -= reservoir.pop(identity).rows

    def _groups(self, common: np.random.Generator) -> Iterator[dict[Identity, list[Sample]]]:
        """This rank's whole identities, in the epoch's order."""
        if self._small:
            by_identity = _by_identity(self._all_rows())
            names = sorted(by_identity)
            mine = self._deal([len(by_identity[name]) for name in names], common)
            yield {names[i]: by_identity[names[i]] for i in mine}
            return
        for i in self._deal([g.rows for g in self.groups], common):
            yield _by_identity(self._read(self.groups[i]))

    def _deal(self, rows: Sequence[int], rng: np.random.Generator) -> list[int]:
        """This rank's share of a shuffled pack: a card a round for each, the largest to who has least."""
        world, order = self.place.world, rng.permutation(len(rows))
        held, mine = [0] * world, []
        for start in range(0, len(order), world):
            cards = sorted(order[start : start + world].tolist(), key=lambda i: -rows[i])
            for card, player in zip(cards, sorted(range(world), key=held.__getitem__), strict=False):
                held[player] += rows[card]
                if player == self.place.rank:
                    mine.append(card)
        return mine

    def _all_rows(self) -> list[Sample]:
        if self._resident is None:
            self._resident = [s for g in self.groups for s in self._read(g)]
        return self._resident

    def _read(self, group: GroupRef) -> list[Sample]:
        if not any((d, p) in self.labels for d, p, _ in group.identities):
            return []
        return [s for s in self.shards.read_group(group) if s.identity in self.labels]

    def _pool(self, samples: list[Sample], rng: np.random.Generator) -> _Pool:
        order = [samples[i] for i in rng.permutation(len(samples))]
        if self.config.sampler == "tuple":
            return _Pool(samples, [[s] for s in order if ANCHOR in s.images])
        k = self.config.instances
        order = [s for s in order if any(m in self.modalities for m in s.modalities)]
        if not order:
            return _Pool(samples, [])
        if len(order) < k:
            extra = rng.integers(0, len(order), k - len(order))
            order += [order[i] for i in extra]
        return _Pool(samples, [order[i : i + k] for i in range(0, len(order) - k + 1, k)])

    def _draw(self, reservoir: dict[Identity, _Pool], rng: np.random.Generator) -> list[Row]:
        names = list(reservoir)
        if self.config.sampler == "tuple":
            chosen = _evenly([len(reservoir[n].remaining) for n in names], self.identities, rng)
        else:
            chosen = rng.choice(len(names), self.identities, replace=False).tolist()
        rows = []
        for i in chosen:
            pool = reservoir[names[i]]
            label = self.labels[names[i]]
            for sample in pool.remaining.pop():
                sources = pool.samples if self.config.sampler == "tuple" else [sample]
                row = Row(_parts(sample, sources, self.modalities, rng), label)
                rows.append(_drop(row, self.config.modality_dropout, rng))
        return rows


@dataclass
class _Pool:
    """An identity in the reservoir: its samples, and the groups not drawn yet."""

    samples: list[Sample]
    remaining: list[list[Sample]]

    @property
    def rows(self) -> int:
        return len(self.samples)


def _evenly(left: list[int], size: int, rng: np.random.Generator) -> list[int]:
    """`size` distinct pools, drawn by how much is left in them; those that must serve every batch to come
    are first, so that the batches are as many as distinctness allows."""
    counts = np.array(left)
    batches = counts.sum() // size
    while (possible := np.minimum(counts, batches).sum() // size) < batches:
        batches = possible
    urgent = counts >= batches
    # Efraimidis and Spirakis: the largest exponential keys are a weighted draw without replacement.
    keys = np.log(rng.random(len(left))) / counts
    ranked: list[int] = np.lexsort((-keys, ~urgent))[:size].tolist()
    return ranked


def _by_identity(samples: list[Sample]) -> dict[Identity, list[Sample]]:
    groups: dict[Identity, list[Sample]] = {}
    for sample in samples:
        groups.setdefault(sample.identity, []).append(sample)
    return groups


def sample_part(sample: Sample, modality: Modality, caption: int = 0) -> Part:
    """One modality of a sample as a part of a row."""
    labels = sample.labels
    content: bytes | str = (
        sample.images[modality].image if modality.is_visual else sample.captions[caption].text
    )
    return Part(content, labels.sample_id, labels.camid, labels.viewid, labels.sample_id)


def _parts(
    anchor: Sample, sources: list[Sample], modalities: Subset, rng: np.random.Generator
) -> dict[Modality, Part]:
    """The anchor's own image, and each other modality from a random one of the sources that has it."""
    parts = {}
    for modality in modalities:
        if modality is ANCHOR and ANCHOR in anchor.images:
            holder = anchor
        else:
            holders = [s for s in sources if modality in s.modalities]
            if not holders:
                continue
            holder = holders[int(rng.integers(len(holders)))] if len(holders) > 1 else holders[0]
        caption = int(rng.integers(len(holder.captions))) if modality is Modality.TEXT else 0
        parts[modality] = sample_part(holder, modality, caption)
    return parts


def _drop(row: Row, chance: float, rng: np.random.Generator) -> Row:
    """Hide each modality with a chance; one always stays."""
    if chance <= 0 or len(row.parts) < 2:
        return row
    names = list(row.parts)
    keep = [m for m in names if rng.random() >= chance] or [names[int(rng.integers(len(names)))]]
    return replace(row, parts={m: row.parts[m] for m in keep})
