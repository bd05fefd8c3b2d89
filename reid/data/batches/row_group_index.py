"""The identities of each row group and how often each can be drawn: the index from which epochs are planned.

Flat arrays of 12 bytes for each identity, so that a set of millions of identities is planned in memory.
"""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from reid import storage
from reid.data.batches.samplers import Counts, Sampler
from reid.data.shards.manifest import Shard
from reid.data.shards.shard_set import GroupRef, Identity, ShardSet
from reid.errors import DataError, TrainingError
from reid.modality import Modality, Subset, parse_subset, subset_name


@dataclass(frozen=True)
class GroupIdentity:
    """An identity of a row group: its training label, its rows, and its chunks."""

    label: int
    rows: int
    chunks: int


@dataclass
class LeftOut:
    """Identities that the sampler cannot use."""

    identities: int = 0
    example: Identity = ("", 0)
    lacking: Counter[Modality] = field(default_factory=Counter)
    captures: int = 0
    """Captures of the other identities that would anchor a row, were they complete."""

    def __str__(self) -> str:
        parts = []
        if self.identities:
            named = ", ".join(f"{m.value} ({n})" for m, n in self.lacking.items())
            example = f"{self.example[0]}/{self.example[1]}"
            parts.append(f"{self.identities} training identities, e.g. {example}; they lack {named}")
        if self.captures:
            parts.append(f"{self.captures} incomplete captures of other identities")
        return "; and ".join(parts)


class ChunkCounter:
    """How often each identity can be drawn, and which ones the sampler leaves out."""

    def __init__(self, labels: Container[Identity], sampler: Sampler) -> None:
        self.left_out = LeftOut()
        self._labels, self._sampler = labels, sampler
        self._known: dict[tuple[tuple[Subset, int], ...], tuple[int, int]] = {}

    def chunks(self, identity: Identity, counts: Counts) -> int:
        """Number of chunks of an identity; 0 without a label, or if it is left out, which is recorded.

        Raises TrainingError for an identity that the sampler refuses.
        """
        if identity not in self._labels:
            return 0
        key = tuple(counts.items())
        if key not in self._known:
            if self._sampler.refuses(counts):
                lacking = subset_name(self._sampler.lacks(counts)).replace("+", ", ")
                raise TrainingError(
                    f"train.batch.incomplete: identity {identity[0]}/{identity[1]} lacks {lacking} for a "
                    "complete tuple. Generate it (build.generate), take it out of data.modalities, or set "
                    "train.batch.incomplete to skip or allow."
                )
            self._known[key] = self._sampler.chunks(counts), self._sampler.unused(counts)
        chunks, unused = self._known[key]
        if chunks == 0:
            self.left_out.lacking.update(self._sampler.lacks(counts))
            self.left_out.identities += 1
            self.left_out.example = identity if self.left_out.identities == 1 else self.left_out.example
        else:
            self.left_out.captures += unused
        return chunks


class GroupIndex:
    """The row groups of a split that contain identities with a label and at least one chunk."""

    def __init__(
        self, shards: ShardSet, split: str, labels: Mapping[Identity, int], sampler: Sampler
    ) -> None:
        """Reads no images. It reads the rows' labels only if the manifest does not list their modalities.

        Raises TrainingError for identities that the sampler refuses.
        """
        counter = ChunkCounter(labels, sampler)
        self.left_out = counter.left_out
        files: list[str] = []
        row_bytes: list[float] = []
        flat = {name: array("i") for name in ("label", "rows", "chunks", "file", "place")}
        starts = array("q", [0])
        scan: dict[Identity, Counts] | None = None
        for shard in shards.manifest.shards:
            if shard.split != split:
                continue
            files.append(storage.join(shards.root, "data", shard.file))
            row_bytes.append(shard.bytes / max(shard.rows, 1))
            if scan is None and _needs_scan(shard):
                scan = _scan(shards, split)
            for place, group in enumerate(_group_counts(shard, scan)):
                for identity, rows, counts in group:
                    chunks = counter.chunks(identity, counts)
                    if chunks:
                        flat["label"].append(labels[identity])
                        flat["rows"].append(rows)
                        flat["chunks"].append(chunks)
                if len(flat["label"]) > starts[-1]:
                    starts.append(len(flat["label"]))
                    flat["file"].append(len(files) - 1)
                    flat["place"].append(place)
        self.label, self.rows, self.chunks, self._file, self._place = (
            np.frombuffer(column, np.int32) if len(column) else np.zeros(0, np.int32)
            for column in flat.values()
        )
        self._starts: NDArray[np.int64] = np.frombuffer(starts, np.int64)
        self._files, self._row_bytes = files, row_bytes
        if len(np.unique(self.label)) != len(self.label):
            raise DataError(f"{shards.root}: an identity spans row groups; build the set again.")

    def __len__(self) -> int:
        return len(self._file)

    @property
    def identities(self) -> int:
        """Number of identities that can be drawn."""
        return len(self.label)

    def entries(self, group: int) -> list[GroupIdentity]:
        """The identities of a row group."""
        part = slice(int(self._starts[group]), int(self._starts[group + 1]))
        columns = (column[part].tolist() for column in (self.label, self.rows, self.chunks))
        return [GroupIdentity(*values) for values in zip(*columns, strict=True)]

    def group_chunks(self) -> list[int]:
        """Number of chunks of each row group."""
        found: list[int] = np.add.reduceat(self.chunks, self._starts[:-1]).tolist() if len(self) else []
        return found

    def size(self, group: int) -> float:
        """Approximate size in bytes of a row group's usable rows, encoded."""
        part = slice(int(self._starts[group]), int(self._starts[group + 1]))
        return int(self.rows[part].sum()) * self._row_bytes[int(self._file[group])]

    def ref(self, group: int) -> GroupRef:
        """Location of a row group."""
        return GroupRef(self._files[self._file[group]], int(self._place[group]), 0, ())


def identity_subsets(shards: ShardSet, split: str) -> dict[Identity, Counts]:
    """Captures of each identity of a split by their modalities, as the manifest or else the rows tell."""
    found: dict[Identity, Counter[Subset]] = defaultdict(Counter)
    mine = [shard for shard in shards.manifest.shards if shard.split == split]
    scan = _scan(shards, split) if any(map(_needs_scan, mine)) else None
    for shard in mine:
        for group in _group_counts(shard, scan):
            for identity, _, counts in group:
                found[identity].update(counts)
    return dict(found)


def _needs_scan(shard: Shard) -> bool:
    return shard.uniform is None and any(g.subsets is None for g in shard.row_groups)


def _group_counts(
    shard: Shard, scan: Mapping[Identity, Counts] | None
) -> Iterator[Iterator[tuple[Identity, int, Counts]]]:
    """Row groups of (identity, rows, rows by subset)."""
    uniform = shard.uniform
    for group in shard.row_groups:
        if uniform is not None:
            yield (((d, p), n, {uniform: n}) for d, p, n in group.identities)
        elif group.subsets is not None:
            named = zip(group.identities, group.subsets, strict=True)
            yield (((d, p), n, {parse_subset(s): k for s, k in c.items()}) for (d, p, n), c in named)
        else:
            counted = scan or {}
            yield (((d, p), n, counted.get((d, p), {})) for d, p, n in group.identities)


def _scan(shards: ShardSet, split: str) -> dict[Identity, Counts]:
    """Rows by subset of every identity, read from the rows' labels if the manifest does not list them."""
    found: dict[Identity, Counter[Subset]] = defaultdict(Counter)
    for sample in shards.light(split):
        found[sample.identity][sample.modalities] += 1
    return dict(found)
