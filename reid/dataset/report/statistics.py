"""Statistics of a shard set: one pass over its labels, a file at a time, without reading pictures."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from reid.config.sections.captions import CaptionPolicy
from reid.data.shards.schema import SPLITS, Sample
from reid.data.shards.shard_set import ShardSet
from reid.dataset.captions.census import CaptionCensus
from reid.dataset.report.summary import reason_class
from reid.modality import ORDER, VISUAL, canonical, subset_name

_CHUNK = 1024
_BINS = 24
MASK = "mask"


@dataclass
class SplitCensus:
    """Counts of one split; samples of an identity follow each other."""

    rows: int = 0
    identities: int = 0
    one_row: int = 0
    one_camera: int = 0
    per_identity: Counter[int] = field(default_factory=Counter)
    cameras: Counter[int | None] = field(default_factory=Counter)
    roles: Counter[str] = field(default_factory=Counter)
    subsets: Counter[str] = field(default_factory=Counter)
    _identity: tuple[str, int] | None = None
    _seen: set[int | None] = field(default_factory=set)
    _count: int = 0

    def add(self, sample: Sample) -> None:
        """Count one sample."""
        if sample.identity != self._identity:
            self.close()
            self._identity = sample.identity
        self.rows += 1
        self._count += 1
        self._seen.add(sample.labels.camid)
        self.cameras[sample.labels.camid] += 1
        self.roles.update(sample.labels.roles or ())
        self.subsets[subset_name(sample.modalities)] += 1

    def close(self) -> None:
        """The current identity is complete."""
        if self._count:
            self.identities += 1
            self.per_identity[self._count] += 1
            self.one_row += self._count == 1
            self.one_camera += len(self._seen) == 1 and None not in self._seen
        self._seen, self._count = set(), 0

    def to_json(self) -> dict[str, Any]:
        """For programs and pages."""
        known = sorted(c for c in self.cameras if c is not None)
        return {
            "rows": self.rows,
            "identities": self.identities,
            "identities_with_one_row": self.one_row,
            "identities_seen_by_one_camera": self.one_camera,
            "rows_per_identity": summary(self.per_identity),
            "cameras": len(known),
            "rows_per_camera": {
                **{str(c): self.cameras[c] for c in known},
                **({"unknown": self.cameras[None]} if None in self.cameras else {}),
            },
            "roles": dict(sorted(self.roles.items())),
            "subsets": dict(self.subsets.most_common()),
        }


@dataclass
class PartCensus:
    """Counts of one modality, or of the mask."""

    origins: Counter[str] = field(default_factory=Counter)
    makers: Counter[tuple[str, str]] = field(default_factory=Counter)
    widths: Counter[int] = field(default_factory=Counter)
    heights: Counter[int] = field(default_factory=Counter)
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)

    def add(self, part: Any) -> None:
        """Count an image, a caption or a mask."""
        self.origins[part.origin] += 1
        if part.generator:
            self.makers[part.generator, part.params_hash or ""] += 1
        if hasattr(part, "width"):
            self.widths[part.width] += 1
            self.heights[part.height] += 1
            if (part.width, part.height) in self.sizes or len(self.sizes) < 4096:
                self.sizes[part.width, part.height] += 1

    def to_json(self) -> dict[str, Any]:
        """For programs and pages."""
        found: dict[str, Any] = {
            "origins": dict(sorted(self.origins.items())),
            "generators": [
                {"generator": name, "params_hash": key or None, "count": n}
                for (name, key), n in self.makers.most_common()
            ],
        }
        if self.widths:
            found |= {
                "width": summary(self.widths),
                "height": summary(self.heights),
                "sizes": [[w, h, n] for (w, h), n in self.sizes.most_common(8)],
                "distinct_sizes": len(self.sizes),
            }
        return found


def statistics(
    shards: ShardSet,
    policy: CaptionPolicy | None = None,
    watch: Callable[[int], None] = lambda rows: None,
) -> dict[str, Any]:
    """Statistics of a set as JSON-able data. `watch` is called with the number of counted rows.

    Raises DataError for a damaged file.
    """
    manifest = shards.manifest
    splits = [s for s in SPLITS if shards.rows(s)]
    captions = CaptionCensus(policy or CaptionPolicy())
    counted: dict[str, Any] = {}
    presence: dict[str, dict[str, Counter[str]]] = {}
    parts: dict[str, PartCensus] = defaultdict(PartCensus)
    masks: Counter[int] = Counter()
    for split in splits:
        census = SplitCensus()
        here: dict[str, Counter[str]] = defaultdict(Counter)
        for samples in _chunks(shards.light(split)):
            captions.add(samples)
            for sample in samples:
                census.add(sample)
                for name, part in _parts(sample):
                    parts[name].add(part)
                for name, origin in _origins(sample):
                    here[name][origin] += 1
                if sample.mask is not None and sample.mask.score is not None:
                    masks[min(max(int(sample.mask.score * 10), 0), 9)] += 1
            watch(len(samples))
        census.close()
        counted[split] = census.to_json()
        presence[split] = here
    aside = shards.quarantine()
    return {
        "set": {
            "root": shards.root,
            "dataset": manifest.dataset,
            "fingerprint": manifest.fingerprint,
            "schema_version": manifest.schema_version,
            "shards": len(manifest.shards),
            "row_groups": len(shards.stored.identities.group_starts) - 1,
            "bytes": int(shards.stored.numbers("bytes").sum()),
            "rows": int(shards.stored.numbers("rows").sum()),
            "identities": len(shards.stored.identities.by_identity()),
        },
        "splits": counted,
        "presence": {
            split: {name: dict(here[name]) for name in (*(m.value for m in ORDER), MASK) if name in here}
            for split, here in presence.items()
        },
        "modalities": {name: parts[name].to_json() for name in _names() if name in parts},
        "masks": {"scores": [masks[i] for i in range(10)] if masks else None},
        "captions": captions.to_json(),
        "quarantine": quarantine(aside),
    }


def quarantine(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Rows set aside, by stage and by kind of reason, each kind with an example."""
    stages = Counter(str(row.get("stage")) for row in rows)
    kinds: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        kinds[reason_class(row)].append(str(row.get("reason")))
    ordered = sorted(kinds.items(), key=lambda item: (-len(item[1]), item[0]))
    return {
        "rows": len(rows),
        "stages": dict(stages.most_common()),
        "reasons": [{"kind": kind, "count": len(all_), "example": all_[0]} for kind, all_ in ordered],
    }


def summary(counts: Counter[int]) -> dict[str, Any]:
    """Least, median, mean, most, and a histogram of at most 24 equal bins of whole numbers."""
    total = sum(counts.values())
    if not total:
        return {"count": 0}
    low, high = min(counts), max(counts)
    step = max(1, -(-(high - low + 1) // _BINS))
    bins = [0] * ((high - low) // step + 1)
    for value, number in counts.items():
        bins[(value - low) // step] += number
    return {
        "count": total,
        "min": low,
        "median": _median(counts, total),
        "mean": sum(v * n for v, n in counts.items()) / total,
        "max": high,
        "histogram": {"edges": [low + step * i for i in range(len(bins) + 1)], "counts": bins},
    }


def _median(counts: Counter[int], total: int) -> int:
    below = 0
    for value in sorted(counts):
        below += counts[value]
        if 2 * below >= total:
            return value
    raise AssertionError("no value")


def _names() -> list[str]:
    return [*(m.value for m in ORDER), MASK]


def _parts(sample: Sample) -> Iterator[tuple[str, Any]]:
    for modality in canonical(sample.images):
        yield modality.value, sample.images[modality]
    for caption in sample.captions:
        yield "text", caption
    if sample.mask is not None:
        yield MASK, sample.mask


def _origins(sample: Sample) -> Iterator[tuple[str, str]]:
    """Each part once a row, so that shares of rows are shares."""
    for modality in VISUAL:
        if modality in sample.images:
            yield modality.value, sample.images[modality].origin
    for origin in sorted({c.origin for c in sample.captions}):
        yield "text", origin
    if sample.mask is not None:
        yield MASK, sample.mask.origin


def _chunks(samples: Iterable[Sample]) -> Iterator[list[Sample]]:
    iterator = iter(samples)
    while chunk := list(islice(iterator, _CHUNK)):
        yield chunk
