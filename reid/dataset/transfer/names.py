"""File names in an exported tree: one path for each sample, the same on every run."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence

from reid.data.readers.shared.sample_tree import safe
from reid.data.shards.schema import Sample
from reid.data.shards.shard_set import ShardSet


class Names:
    """Paths for the samples of a set. Ids that would give one path get eight digits of their hash."""

    def __init__(self, ids: Iterable[str]) -> None:
        counts = Counter(_key(safe(name)) for name in ids)
        self._shared = {key for key, n in counts.items() if n > 1}

    @classmethod
    def of(cls, shards: ShardSet, splits: Sequence[str]) -> Names:
        """For all samples of these splits; keeps a few bytes of those that are not unique."""
        return cls(name for s in splits for g in shards.groups(s) for name in shards.sample_ids(g))

    def path(self, sample: Sample) -> str:
        """The relative path of a sample's files, without folder and suffix."""
        labels = sample.labels
        path = safe(labels.sample_id)
        if _key(path) not in self._shared:
            return path
        own = f"{labels.dataset}\0{labels.split}\0{labels.sample_id}"
        return f"{path}~{hashlib.sha256(own.encode('utf-8', 'replace')).hexdigest()[:8]}"


def _key(path: str) -> bytes:
    """Alike for paths that one folder could not hold on every system (a.png, A.png)."""
    return hashlib.blake2b(path.casefold().encode(), digest_size=8).digest()
