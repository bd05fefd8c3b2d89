"""One evaluation: pairings of modality subsets -> what must be embedded -> metrics from features by key.

Features are looked up by the key of their parts, so one embedding serves every pairing and protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from reid.errors import DataError
from reid.evaluate.items import (
    GalleryItem,
    Parts,
    Query,
    SampleLabels,
    Selected,
    Side,
    metas,
    parts_key,
)
from reid.evaluate.metrics import RetrievalMetrics, evaluate_features
from reid.evaluate.protocols import Protocol
from reid.modality import Subset, parse_subset, subset_name

Features = Mapping[str, npt.NDArray[np.float32]]
PairRule = Callable[[Subset, Subset], tuple[Subset, Subset]]


@dataclass(frozen=True)
class Pairing:
    """What is asked of what, and the subsets that are embedded to answer it."""

    query: Subset
    gallery: Subset
    query_used: Subset
    gallery_used: Subset

    @property
    def name(self) -> str:
        """ "text->rgb"; one name when both sides are alike."""
        q, g = subset_name(self.query), subset_name(self.gallery)
        return q if q == g else f"{q}->{g}"


@dataclass(frozen=True)
class Work:
    """One vector to compute."""

    key: str
    side: Side
    parts: Parts


@dataclass(frozen=True, eq=False)
class Scored:
    """A pairing's metrics with what they were computed from."""

    pairing: Pairing
    metrics: RetrievalMetrics
    queries: Selected[Query]
    gallery: Selected[GalleryItem]
    query_pids: Tensor  # (Q,) identity codes


def parse_pairing(text: str, gallery: Subset, rule: PairRule) -> Pairing:
    """ "sketch" (against `gallery`) or "text->rgb". UnsupportedPairing if the model cannot."""
    asked, arrow, other = text.partition("->")
    q = parse_subset(asked)
    g = parse_subset(other) if arrow else gallery
    used = rule(q, g)
    return Pairing(q, g, *used)


def worklist(protocol: Protocol, labels: Sequence[SampleLabels], pairings: Iterable[Pairing]) -> list[Work]:
    """Every distinct vector that the pairings need, in a fixed order."""
    work: dict[str, Work] = {}
    for pairing in pairings:
        sides: tuple[tuple[Side, Sequence[Query | GalleryItem]], ...] = (
            ("query", protocol.queries(labels, pairing.query_used).items),
            ("gallery", protocol.gallery(labels, pairing.gallery_used).items),
        )
        for side, items in sides:
            for item in items:
                key = parts_key(item.parts, side)
                work.setdefault(key, Work(key, side, item.parts))
    return list(work.values())


def score(protocol: Protocol, labels: Sequence[SampleLabels], pairing: Pairing, features: Features) -> Scored:
    """Metrics of one pairing. Raises DataError when a side is empty or a feature is missing."""
    queries = protocol.queries(labels, pairing.query_used)
    gallery = protocol.gallery(labels, pairing.gallery_used)
    for side, found in (("query", queries.items), ("gallery", gallery.items)):
        if not found:
            subset = pairing.query_used if side == "query" else pairing.gallery_used
            raise DataError(f"No {side} sample of this split has {subset_name(subset)!r}.")
    q_meta, g_meta = metas(queries.items, gallery.items, labels)
    metrics = evaluate_features(
        stack(queries.items, "query", features),
        stack(gallery.items, "gallery", features),
        q_meta,
        g_meta,
        protocol.exclude,
    )
    return Scored(pairing, metrics, queries, gallery, q_meta.pid)


def stack(items: Sequence[Query] | Sequence[GalleryItem], side: Side, features: Features) -> Tensor:
    """(n, dim) float32 vectors of items. Raises DataError naming the first one without a feature."""
    rows = []
    for item in items:
        vector = features.get(parts_key(item.parts, side))
        if vector is None:
            raise DataError(
                f"No {side} vector of {next(iter(item.parts.values())).sample_id!r}: features are "
                "of another model, shard set or worklist. Embed again."
            )
        rows.append(vector)
    return torch.from_numpy(np.stack(rows))
