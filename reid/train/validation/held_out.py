"""The samples that validate: their labels in memory, their pictures read a row group at a time.

With several ranks each embeds its share of the row groups; only vectors go from rank to rank, so that no rank
holds all pictures.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from reid import storage
from reid.data.batches.batch_row import BatchRow
from reid.data.batches.collate import Collator
from reid.data.shards.group_samples import GroupReader
from reid.data.shards.schema import Sample
from reid.data.shards.shard_set import GroupRef, Identity, ShardSet
from reid.evaluate.features.table import FeatureTable, Vectors, key_codes
from reid.evaluate.features.work import EmbeddingTask, row_of
from reid.evaluate.protocols.items import SampleLabels
from reid.evaluate.protocols.label_columns import LabelColumns
from reid.models.base import ReIDModel
from reid.nn.distributed import gather_rows, rank, world_size
from reid.runs.embedding import embed_rows
from reid.train.validation.checks import without_roles

ITEMS = 512
"""Vectors whose pictures are held at a time, besides what the rest of a row group needs."""


class HeldOut:
    """The samples of some identities of a split, for retrieval among themselves."""

    def __init__(self, shards: ShardSet, identities: Sequence[Identity]) -> None:
        split = "val" if len(shards.identities("val")) else "train"
        wanted = set(identities)
        self._reader = GroupReader(shards, _groups(shards, split, identities))
        labels = LabelColumns()
        self._group: dict[str, int] = {}
        for number, group in enumerate(self._reader.groups):
            found = [s for s in shards.light_group(group) if s.identity in wanted]
            labels.add_labels(without_roles(SampleLabels.of(s)) for s in found)
            self._group |= {s.labels.sample_id: number for s in found}
        self.labels = labels.table()
        self.identities = len(np.unique(self.labels.identity))

    def embed(
        self,
        model: ReIDModel,
        collator: Collator,
        work: Sequence[EmbeddingTask],
        device: torch.device,
        together: bool = True,
    ) -> FeatureTable:
        """The vectors of a worklist, on every rank.

        Args:
            model: in any mode; it is left in that mode.
            collator: makes batches as the model takes them.
            work: distinct vectors to compute, the same list on every rank.
            device: where the model is.
            together: whether all ranks call this, and share the work; else this rank does all of it.
        """
        ranks, mine = (world_size(), rank()) if together else (1, 0)
        shares = self._shares(work, ranks)
        vectors = self._embed(model, collator, shares[mine], device)
        if ranks > 1:
            with torch.no_grad():
                vectors = gather_rows(torch.from_numpy(vectors).to(device)).cpu().numpy()
        keys = key_codes(item.key for share in shares for chunk in share for item in chunk)
        return FeatureTable([(keys, vectors)])

    def _shares(self, work: Sequence[EmbeddingTask], ranks: int) -> list[list[list[EmbeddingTask]]]:
        """The items of each rank: every row group's whole, in stored order; one list a row group."""
        by_group: dict[int, list[EmbeddingTask]] = defaultdict(list)
        for item in work:
            by_group[self._group[next(iter(item.parts.values())).sample_id]].append(item)
        ordered = [by_group[number] for number in sorted(by_group)]
        return [ordered[place::ranks] for place in range(ranks)]

    def _embed(
        self, model: ReIDModel, collator: Collator, share: Sequence[list[EmbeddingTask]], device: torch.device
    ) -> Vectors:
        """(n, dim) vectors in the order of the items."""
        found = [np.zeros((0, model.dim), np.float32)]
        for items in _chunks(share):
            rows = [self._row(item) for item in items]
            vectors = np.zeros((len(items), model.dim), np.float32)
            for side in ("query", "gallery"):
                mine = [i for i, item in enumerate(items) if item.side == side]
                if mine:
                    vectors[mine] = embed_rows(model, collator, [rows[i] for i in mine], side, 64, device)
            found.append(vectors)
        return np.concatenate(found)

    def _row(self, item: EmbeddingTask) -> BatchRow:
        def sample(name: str) -> Sample:
            return self._reader.read(self._group[name])[name]

        return row_of(item.parts, lambda m: sample(item.parts[m].sample_id))


def _chunks(groups: Sequence[list[EmbeddingTask]]) -> Iterator[list[EmbeddingTask]]:
    """Neighbouring row groups together, ITEMS items at least but for the last."""
    chunk: list[EmbeddingTask] = []
    for items in groups:
        chunk += items
        if len(chunk) >= ITEMS:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _groups(shards: ShardSet, split: str, identities: Sequence[Identity]) -> list[GroupRef]:
    """The row groups of a split that hold any of the identities, from the manifest alone."""
    table = shards.index(split)
    held = np.zeros(len(table), bool)
    pids: dict[str, list[int]] = defaultdict(list)
    for dataset, pid in identities:
        pids[dataset].append(pid)
    for code, dataset in enumerate(table.datasets):
        held |= (table.dataset == code) & np.isin(table.pid, pids.get(dataset, []))
    files = [storage.join(shards.root, "data", name) for name in shards.stored.column("file")]
    starts: NDArray[np.int64] = table.group_starts
    places = np.unique(np.searchsorted(starts, np.flatnonzero(held), side="right") - 1)
    return [
        GroupRef(
            files[int(table.shard[start])],
            int(table.group[start]),
            int(table.rows[start:stop].sum()),
            (),
        )
        for start, stop in zip(starts[places].tolist(), starts[places + 1].tolist(), strict=True)
    ]
