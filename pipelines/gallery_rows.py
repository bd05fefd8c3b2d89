"""The rows of a gallery without their vectors: labels, thumbnails and the keys of vectors, by row group.

Decoding pictures for thumbnails is most of the work besides embedding; actors share it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import pyarrow as pa

from pipelines.cells import in_cell, of_cell
from pipelines.context import map_blocks
from pipelines.embed import actor_requests
from pipelines.progress import Say
from reid.comparison.mixed import worth_storing
from reid.comparison.rule import ComparisonRule
from reid.config import Config
from reid.config.typed import Section
from reid.data.images import thumbnail
from reid.data.shards.schema import Sample
from reid.data.shards.shard_set import ShardSet
from reid.evaluate.features.work import EmbeddingTask
from reid.evaluate.protocols.choice import sides_of
from reid.evaluate.protocols.items import SampleLabels, parts_key
from reid.modality import ORDER, Subset, subset_name

PLAIN = pa.schema(
    [
        ("id", pa.string()),
        ("modalities", pa.string()),
        ("pid", pa.int64()),
        ("camid", pa.int32()),
        ("timestamp", pa.float64()),
        ("thumbnail", pa.binary()),
        ("source", pa.string()),
    ]
)
"""Fields of `reid.gallery.rows.Item`; beside them a column of keys for each subset."""
GROUP = pa.schema([("group", pa.int64())])
LABELS = 4096
"""Samples whose labels are held at a time."""


def key_column(subset: str) -> str:
    """The column with the keys of a subset's vectors; null where a sample has none."""
    return f"key of {subset}"


def wanted_tasks(
    protocol: str | Section,
    shards: ShardSet,
    split: str,
    subsets: Sequence[Subset],
    rule: ComparisonRule,
    wanted: Callable[[str], bool],
) -> Iterator[EmbeddingTask]:
    """The vectors of a split's gallery items, for the samples that are wanted; labels are read as they come.

    A sample has those that it needs under the model's rule. `wanted` is asked once for each that is a gallery
    item.
    """
    stream = shards.light(split)
    while chunk := list(islice(stream, LABELS)):
        by_sample = _vectors(protocol, [SampleLabels.of(s) for s in chunk], subsets, rule)
        for name, works in by_sample.items():
            if wanted(name):
                yield from works.values()


class GalleryRows:
    """Makes the rows of a row group: columns of PLAIN, and `key_column` of each subset."""

    def __init__(
        self,
        shards_uri: str,
        split: str,
        protocol: str | Section,
        subsets: Sequence[Subset],
        rule: ComparisonRule,
        longest: int,
    ) -> None:
        self._arguments = (shards_uri, split, protocol, subsets, rule, longest)
        self.shards = ShardSet.at(shards_uri)
        self.groups = self.shards.groups(split)
        self.protocol, self.subsets, self.rule, self.longest = protocol, subsets, rule, longest

    def __call__(self, batch: pa.Table) -> pa.Table:
        """One row of CELL with the number of a row group in; a row an item out."""
        (group,) = of_cell(batch)["group"].to_pylist()
        return self.rows(group)

    def rows(self, group: int) -> pa.Table:
        """The rows of a row group's samples that are gallery items."""
        samples = self.shards.read_group(self.groups[group])
        works = _vectors(self.protocol, [SampleLabels.of(s) for s in samples], self.subsets, self.rule)
        samples = [s for s in samples if s.labels.sample_id in works]
        plain = pa.Table.from_pylist([self._plain(s) for s in samples], schema=PLAIN)
        for subset in map(subset_name, self.subsets):
            tasks = [works[s.labels.sample_id].get(subset) for s in samples]
            keys = [None if task is None else bytes.fromhex(task.key) for task in tasks]
            plain = plain.append_column(key_column(subset), pa.array(keys, pa.binary(16)))
        return plain

    def stream(self, groups: Sequence[int], config: Config, out: Say) -> Iterator[pa.Table]:
        """The rows of some row groups, made by as many actors as embed, or here."""
        actors = min(config.evaluate.actors, len(groups))
        if not actors:
            yield from map(self.rows, groups)
            return
        import ray.data

        from pipelines.placement.waiting import wait_for, watched

        requests = actor_requests("actor that makes gallery rows", actors, 0, len(groups))
        wait_for("index", requests, config.ray, out)
        dataset = map_blocks(
            ray.data.from_arrow([in_cell(pa.table({"group": [g]}, schema=GROUP)) for g in groups]),
            type(self),
            fn_constructor_args=self._arguments,
            batch_size=1,
            num_cpus=1,
            compute=ray.data.ActorPoolStrategy(size=actors),
        )
        with watched("index", requests, config.ray, out, store=config.workdir):
            yield from dataset.iter_batches(batch_size=None, batch_format="pyarrow")

    def _plain(self, sample: Sample) -> dict[str, Any]:
        labels = sample.labels
        shown = next((m for m in ORDER if m in sample.images), None)
        return {
            "id": labels.sample_id,
            "modalities": subset_name(sample.modalities) or None,
            "pid": labels.pid,
            "camid": labels.camid,
            "timestamp": labels.timestamp,
            "thumbnail": None
            if shown is None
            else thumbnail(sample.images[shown].image, labels.sample_id, self.longest),
            "source": f"{labels.dataset}/{labels.sample_id}",
        }


def _vectors(
    protocol: str | Section, labels: Sequence[SampleLabels], subsets: Sequence[Subset], rule: ComparisonRule
) -> dict[str, dict[str, EmbeddingTask]]:
    """{sample id: {subset: the vector to compute}} of the gallery side, sample by sample."""
    sides = sides_of(protocol)
    found: dict[str, dict[Subset, EmbeddingTask]] = {}
    for subset in subsets:
        for item in sides.gallery(labels, subset).items:
            sample = next(iter(item.parts.values())).sample_id
            work = EmbeddingTask(parts_key(item.parts, "gallery"), "gallery", item.parts)
            found.setdefault(sample, {}).setdefault(subset, work)
    return {
        sample: {subset_name(subset): of[subset] for subset in worth_storing(rule, of)}
        for sample, of in found.items()
    }
