"""What a shard's statistics count: rows by identity, by modality and origin, by subset of modalities."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from reid.data.shards.schema import Sample
from reid.modality import ORDER, Modality, Subset, canonical, subset_name


def by_identity(samples: Iterable[Sample]) -> list[list[Sample]]:
    """Samples of one identity each, identities in the order of their first sample."""
    groups: dict[tuple[str, int], list[Sample]] = {}
    for sample in samples:
        groups.setdefault(sample.identity, []).append(sample)
    return list(groups.values())


def identity_counts(samples: Sequence[Sample]) -> list[tuple[str, int, int]]:
    """(dataset, pid, rows), in the order of `by_identity`."""
    return [(*same[0].identity, len(same)) for same in by_identity(samples)]


def modality_counts(samples: Sequence[Sample]) -> dict[str, dict[str, int]]:
    """Modality -> origin -> rows. A row with captions of two origins counts under both."""
    counts: dict[str, Counter[str]] = {m.value: Counter() for m in ORDER}
    for sample in samples:
        for modality, image in sample.images.items():
            counts[modality.value][image.origin] += 1
        for origin in {c.origin for c in sample.captions}:
            counts[Modality.TEXT.value][origin] += 1
    return {m: dict(c) for m, c in counts.items() if c}


def subset_counts(samples: Sequence[Sample]) -> list[dict[str, int]]:
    """Subset name -> rows, for each identity in the order of `by_identity`."""
    return [dict(Counter(subset_name(s.modalities) for s in same)) for same in by_identity(samples)]


def uniform(counts: Mapping[str, Mapping[str, int]], rows: int) -> Subset | None:
    """The modalities of every row, when `modality_counts` tell that all rows have the same; else None."""
    for modality, origins in counts.items():
        several = modality == Modality.TEXT.value  # captions of several origins in one row
        if max(origins.values()) != rows and (several or sum(origins.values()) != rows):
            return None
    return canonical(Modality(modality) for modality in counts)
