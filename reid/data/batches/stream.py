"""Streams training batches from a shard set: identity-balanced P x K, cross-spectral, multi-modal tuples.

A stream is a pure function of (seed, epoch, rank, world); its state is the number of steps taken. Row groups
hold whole identities, so a bounded reservoir of row groups is a reservoir of whole identities. A set that
fits in it is kept in memory, assigned to the ranks identity by identity, and drawn like the classical
sampler. The draws are planned from counts (`epoch_plan`); resuming replays the plan and reads only what is
still needed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

import numpy as np

from reid.config import BatchConfig
from reid.data.batches.batch import Batch
from reid.data.batches.batch_checks import check_batch, check_pairing
from reid.data.batches.batch_row import BatchRow
from reid.data.batches.batch_task import BatchTask
from reid.data.batches.collate import Collator
from reid.data.batches.epoch_plan import EpochPlan, assign
from reid.data.batches.read_ahead import read_ahead
from reid.data.batches.row_group_index import GroupIdentity, GroupIndex
from reid.data.batches.sample_rows import row_of_sample
from reid.data.batches.samplers import Chunk, chunk_of, sampler_of
from reid.data.shards.schema import Sample
from reid.data.shards.shard_set import Identity, ShardSet
from reid.errors import TrainingError
from reid.modality import Modality, Subset

log = logging.getLogger(__name__)

# What a random stream is for: streams of different purposes are independent.
_ASSIGN, _DRAW, _AUGMENT, _CHUNK, _ROW = range(5)
_LABELS = ("sample_id", "dataset", "split", "pid", "camid", "viewid")
Samples = dict[int, list[Sample]]
"""Of whole identities, by label."""


@dataclass(frozen=True)
class StreamPlace:
    """Which part of the global batch this process draws."""

    seed: int
    rank: int = 0
    world: int = 1


@dataclass(frozen=True)
class _RankShare:
    """A rank's share of an epoch: row groups in order, their identities, and how to read one."""

    groups: list[int]
    identities: Callable[[int], list[GroupIdentity]]
    read: Callable[[int], Samples]
    read_ahead: bool


class BatchStream:
    """Batches of one rank. P identities are drawn globally, P / world on each rank, all of them distinct."""

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
        """Raises what `check_pairing`, `sampler_of` and `check_batch` raise."""
        check_pairing(config, collator.auxiliary)
        self.shards, self.labels, self.modalities = shards, labels, modalities
        self.config, self.collator, self.place = config, collator, place
        self.sampler = sampler_of(config, modalities)
        self.global_identities = config.global_identities(place.world)
        self.identities = self.global_identities // place.world
        self.index = GroupIndex(shards, split, labels, self.sampler)
        left_out = str(self.index.left_out)
        check_batch(config, self.index.identities, left_out, place.world)
        if left_out and place.rank == 0:
            log.warning("train.batch.sampler %s leaves out %s.", config.sampler, left_out)
        self.rows = int(self.index.rows.sum())
        self._small = self.rows <= config.reservoir_rows
        self._columns = row_columns(modalities, collator.auxiliary)

    @property
    def natural_steps(self) -> int:
        """Steps of one pass over the training identities' chunks; equal on all ranks."""
        return max(1, int(self.index.chunks.sum(dtype=np.int64)) // self.global_identities)

    def epoch(self, number: int, steps: int, start: int = 0) -> Iterator[Batch]:
        """Batches of steps `start` to `steps` of an epoch, each made when it is asked for.

        `reid.train.loading` makes them ahead.
        """
        return (task.made(self.collator) for task in self.tasks(number, steps, start))

    def tasks(self, number: int, steps: int, start: int = 0) -> Iterator[BatchTask]:
        """What makes those batches, in order."""
        for step, rows in enumerate(self.rows_of(number, steps, start), start):
            yield BatchTask(rows, (self.place.seed, _AUGMENT, number, step, self.place.rank))

    def rows_of(self, epoch: int, steps: int, start: int = 0) -> Iterator[list[BatchRow]]:
        """The rows of those steps, undecoded."""
        return islice(self._draws(epoch, start), max(0, steps - start))

    def _rng(self, purpose: int, *place: int) -> np.random.Generator:
        return np.random.default_rng([self.place.seed, purpose, *place])

    def _draws(self, epoch: int, start: int = 0) -> Iterator[list[BatchRow]]:
        """Rows of endless steps from `start` on; a rank with a small share starts another pass."""
        turn = 0
        while True:
            done = 0
            for rows in self._one_pass(epoch, turn, start):
                if rows is not None:
                    yield rows
                done += 1
            if not done:
                raise TrainingError(
                    f"Rank {self.place.rank} has fewer than {self.identities} identities in its part of the "
                    "data. Lower train.batch.identities, use fewer workers, or raise "
                    "train.batch.reservoir_rows above the number of training rows."
                )
            start = max(0, start - done)
            turn += 1

    def _one_pass(self, epoch: int, turn: int, start: int = 0) -> Iterator[list[BatchRow] | None]:
        """One pass over this rank's identities.

        Steps before `start` are None, and nothing is read for them.
        """
        share = self._share(epoch)
        rng = self._rng(_DRAW, epoch, turn, self.place.rank)
        arrivals = ((group, share.identities(group)) for group in share.groups)
        plan = EpochPlan(arrivals, self.identities, self.config.reservoir_rows, self.sampler.choose, rng)
        for _ in range(start):
            if plan.step() is None:
                return
            yield None
        gone, live = plan.arrived(), plan.live()
        wanted = set(live.values())
        kept = [group for group in gone if group in wanted]
        limit = self.config.prefetch_mib * 2**20 if share.read_ahead else 0
        order = [*kept, *share.groups[len(gone) :]]
        source = read_ahead(order, share.read, self.index.size, limit, self.config.prefetch_threads)
        try:
            held: Samples = {}
            for _ in kept:
                held |= {label: samples for label, samples in next(source).items() if label in live}
            yield from self._live(plan, source, held, (epoch, turn), start)
        finally:
            source.close()

    def _live(
        self, plan: EpochPlan, source: Iterator[Samples], held: Samples, place: tuple[int, int], step: int
    ) -> Iterator[list[BatchRow]]:
        """The plan's remaining steps as rows; `source` yields the row groups as the plan needs them."""
        chunks: dict[int, list[Chunk]] = {}
        while True:
            drawn = plan.step()
            for _ in plan.arrived():
                held |= next(source)
            if drawn is None:
                return
            rng = self._rng(_ROW, *place, self.place.rank, step)
            rows = []
            for label, number in drawn:
                if label not in chunks:
                    chunks[label] = self.sampler.split(held.pop(label, []), self._rng(_CHUNK, *place, label))
                chunk = chunk_of(chunks[label], number, label)
                rows += [row_of_sample(pick, label, self.config.modality_dropout, rng) for pick in chunk]
                if number == 0:  # chunks are drawn from the last to the first
                    del chunks[label]
            yield rows
            step += 1

    def _share(self, epoch: int) -> _RankShare:
        """This rank's share, assigned once an epoch, so that ranks never hold the same identity."""
        rng, world, rank = self._rng(_ASSIGN, epoch), self.place.world, self.place.rank
        if not self._small:
            mine = assign(self.index.group_chunks(), world, rank, rng)
            return _RankShare(mine, self.index.entries, self._read, read_ahead=True)
        identities = self._all_identities
        mine = assign([entry.chunks for entry in identities], world, rank, rng)
        own = [identities[i] for i in mine]
        return _RankShare(
            [0], lambda _: own, lambda _: {e.label: self._resident[e.label] for e in own}, read_ahead=False
        )

    @cached_property
    def _all_identities(self) -> list[GroupIdentity]:
        found = [entry for group in range(len(self.index)) for entry in self.index.entries(group)]
        return sorted(found, key=lambda entry: entry.label)

    @cached_property
    def _resident(self) -> Samples:
        """All training samples of a set that fits in the reservoir."""
        held: Samples = {}
        limit, threads = self.config.prefetch_mib * 2**20, self.config.prefetch_threads
        for samples in read_ahead(range(len(self.index)), self._read, self.index.size, limit, threads):
            held |= samples
        return held

    def _read(self, group: int) -> Samples:
        """The useful identities of a row group."""
        found: Samples = {entry.label: [] for entry in self.index.entries(group)}
        for sample in self.shards.read_group(self.index.ref(group), self._columns):
            mine = found.get(self.labels.get(sample.identity, -1))
            if mine is not None:
                mine.append(sample)
        return found


def row_columns(modalities: Subset, auxiliary: frozenset[str] = frozenset()) -> list[str]:
    """The columns of a shard that rows need; half of a row group's reading time depends on their number."""
    visual = [m.value for m in modalities if m.is_visual]
    beside = {"captions": Modality.TEXT in modalities or "caption" in auxiliary, "mask": "mask" in auxiliary}
    pictures = [f"{name}.{field}" for name in visual for field in ("image", "width", "height")]
    return [*_LABELS, *pictures, *(name for name, wanted in beside.items() if wanted)]
