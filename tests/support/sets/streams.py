"""What the tests of batch streams share: streams over small sets, and what they drew."""

from __future__ import annotations

import random
import threading
import weakref
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch

from reid.config import AugmentConfig, BatchConfig
from reid.data.batches.batch import Batch
from reid.data.batches.batch_row import BatchRow
from reid.data.batches.collate import Collator
from reid.data.batches.stream import BatchStream, StreamPlace
from reid.data.shards.schema import Sample
from reid.data.shards.shard_set import GroupRef, Identity, ShardSet
from reid.modality import Modality
from tests.support.sets.shards import data_config, make_sample

RGB, NIR, SKETCH, TEXT = Modality.RGB, Modality.NIR, Modality.SKETCH, Modality.TEXT


class CountingShards(ShardSet):
    """Remembers which row groups were read, and how many of their samples are still alive."""

    reads: list[tuple[str, int]]
    alive: int
    lock: threading.RLock

    @classmethod
    def count(cls, shards: ShardSet) -> CountingShards:
        counting = cls(shards.root, shards.manifest)
        counting.reads, counting.alive, counting.lock = [], 0, threading.RLock()
        return counting

    def read_group(self, group: GroupRef, columns: Sequence[str] | None = None) -> list[Sample]:
        self.reads.append((group.file, group.index))
        samples = super().read_group(group, columns)
        with self.lock:
            self.alive += len(samples)
        for sample in samples:
            weakref.finalize(sample, self._gone)
        return samples

    def _gone(self) -> None:
        with self.lock:
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


def once_over(source: BatchStream, epoch: int = 0) -> list[list[BatchRow]]:
    """The batches of one pass over this rank's identities, undecoded."""
    return [rows for rows in source._one_pass(epoch, 0) if rows is not None]


def names(rows: Sequence[BatchRow]) -> list[str]:
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


def assert_pk(batch: Batch, p: int, k: int) -> None:
    assert len(batch) == p * k
    assert sorted(Counter(batch.pid.tolist()).values()) == [k] * p


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


def scattered() -> list[Sample]:
    """6 identities: pictures in RGB only, others in NIR only, a sketch and a text somewhere."""
    samples = []
    for pid, size in enumerate([3, 5, 2, 6, 4, 4]):
        samples += [make_sample(pid, n, [RGB]) for n in range(size)]
        samples += [make_sample(pid, 10 + n, [NIR]) for n in range(3)]
        samples.append(make_sample(pid, 20, [SKETCH, TEXT]))
    return samples
