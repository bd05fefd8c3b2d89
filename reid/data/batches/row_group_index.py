"""The identities of each row group and how often each can be drawn: the index from which epochs are planned.

Flat arrays of 12 bytes for each identity, so that a set of millions of identities is planned in memory.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from reid import storage
from reid.data.batches.samplers import Sampler
from reid.data.shards.identity_captures import IdentityCaptures, counted_from_rows, entry_patterns
from reid.data.shards.identity_list import Identity, IdentityList, IdentityMap
from reid.data.shards.identity_table import Counts, IdentityTable
from reid.data.shards.row_groups import GroupRef
from reid.data.shards.shard_set import ShardSet
from reid.errors import DataError, TrainingError
from reid.modality import Modality, subset_name

log = logging.getLogger(__name__)


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


def count_chunks(
    sampler: Sampler, identities: IdentityList, patterns: Sequence[Counts], pattern: NDArray[np.int32]
) -> tuple[NDArray[np.int32], LeftOut]:
    """How often each identity can be drawn (0: not at all), and what the sampler leaves out.

    Args:
        sampler: what draws them.
        identities: (n,) identities.
        patterns: the captures that occur.
        pattern: (n,) the captures of each identity.

    Raises TrainingError for an identity that the sampler refuses.
    """
    left_out, chunks = LeftOut(), np.zeros(len(identities), np.int32)
    found, first, inverse, sizes = np.unique(
        pattern, return_index=True, return_inverse=True, return_counts=True
    )
    drawn = np.zeros(len(found), np.int32)
    for place in np.argsort(first).tolist():
        counts, number = patterns[int(found[place])], int(sizes[place])
        identity = identities[int(first[place])]
        if sampler.refuses(counts):
            lacking = subset_name(sampler.lacks(counts)).replace("+", ", ")
            raise TrainingError(
                f"train.batch.incomplete: identity {identity[0]}/{identity[1]} lacks {lacking} for a "
                "complete tuple. Generate it (build.generate), take it out of data.modalities, or set "
                "train.batch.incomplete to skip or allow."
            )
        drawn[place] = sampler.chunks(counts)
        if drawn[place]:
            left_out.captures += number * sampler.unused(counts)
            continue
        left_out.example = left_out.example if left_out.identities else identity
        left_out.lacking.update(dict.fromkeys(sampler.lacks(counts), number))
        left_out.identities += number
    if len(found):
        chunks = drawn[inverse]
    return chunks, left_out


class GroupIndex:
    """The row groups of a split that contain identities with a label and at least one chunk."""

    def __init__(
        self, shards: ShardSet, split: str, labels: Mapping[Identity, int], sampler: Sampler
    ) -> None:
        """Reads no images. It reads the rows' labels only if the manifest does not list their modalities.

        Raises TrainingError for identities that the sampler refuses.
        """
        table = told_index(shards, split)
        label = IdentityMap.of(labels).of_all(table.identities())
        patterns, pattern = entry_patterns(table)
        known = np.flatnonzero(label >= 0)
        named = table.identities().take(known)
        chunks, self.left_out = count_chunks(sampler, named, patterns, pattern[known])
        known, chunks = known[chunks > 0], chunks[chunks > 0]
        self.label, self.rows, self.chunks = label[known], table.rows[known], chunks
        shard, group = table.shard[known], table.group[known]
        changes = np.ones(len(known), bool)
        changes[1:] = (shard[1:] != shard[:-1]) | (group[1:] != group[:-1])
        begin = np.flatnonzero(changes)
        self._starts: NDArray[np.int64] = np.append(begin, len(known))
        self._file, self._place = shard[begin], group[begin]
        stored = shards.stored
        self._root, self._files = shards.root, stored.column("file")
        self._row_bytes = stored.numbers("bytes") / np.maximum(stored.numbers("rows"), 1)
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
        return int(self.rows[part].sum()) * float(self._row_bytes[self._file[group]])

    def ref(self, group: int) -> GroupRef:
        """Location of a row group."""
        file = storage.join(self._root, "data", self._files[int(self._file[group])])
        return GroupRef(file, int(self._place[group]), 0, ())


def identity_subsets(shards: ShardSet, split: str) -> IdentityCaptures:
    """Captures of each identity of a split by their modalities, as the manifest or else the rows tell."""
    return IdentityCaptures.of_table(told_index(shards, split))


def told_index(shards: ShardSet, split: str) -> IdentityTable:
    """The split's identities with their captures by modality; counted from the rows' labels where a manifest
    of an earlier version does not tell them.
    """
    table = shards.index(split)
    if table.told.all():
        return table
    log.info("%s: the manifest does not tell which modalities rows have, so they are read", shards.root)
    return counted_from_rows(table, shards.light(split))
