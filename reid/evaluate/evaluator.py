"""One evaluation: pairings of modality subsets -> vectors to embed -> metrics from features by key.

Features are found by the key of their parts, so one embedding serves every pairing, trial and protocol.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from reid.config import RerankConfig
from reid.config.protocols.spec import ProtocolConfig
from reid.errors import DataError
from reid.evaluate.metrics.reranking import rerank
from reid.evaluate.metrics.retrieval import (
    Compare,
    Exclude,
    RetrievalMetrics,
    check_features,
    cosine,
    evaluate_features,
)
from reid.evaluate.metrics.trials import over_trials
from reid.evaluate.protocols.items import (
    GalleryItem,
    Parts,
    ProtocolQuery,
    SampleLabels,
    Selection,
    Side,
    parts_key,
)
from reid.evaluate.protocols.label_arrays import LabelArrays, label_arrays_of
from reid.evaluate.protocols.pairing import Pairing
from reid.evaluate.protocols.protocol import Protocol
from reid.modality import subset_name

Features = Mapping[str, npt.NDArray[np.float32]]


@dataclass(frozen=True)
class EmbeddingTask:
    """One vector to compute."""

    key: str
    side: Side
    parts: Parts


@dataclass(frozen=True, eq=False)
class PairingScores:
    """A pairing's metrics with what they were computed from."""

    pairing: Pairing
    metrics: RetrievalMetrics  # over the trials
    queries: Selection[ProtocolQuery]
    gallery: Selection[GalleryItem]  # everything that a trial may draw
    query_pids: Tensor  # (Q,) identity codes
    draws: tuple[tuple[int, ...], ...]  # positions in `gallery` of each trial's items
    compare: Compare  # similarities of some queries to the first trial's items
    without_source: RetrievalMetrics | None = None  # where `metrics` keep what a query describes

    @property
    def first_gallery(self) -> list[GalleryItem]:
        """The items of the first trial."""
        return [self.gallery.items[i] for i in self.draws[0]]


def select_items(
    protocol: Protocol, labels: Sequence[SampleLabels], pairing: Pairing
) -> tuple[Selection[ProtocolQuery], Selection[GalleryItem]]:
    """The queries of a pairing, and every item that any of its galleries may contain."""
    queries = protocol.queries(labels, pairing.query_used)
    return queries, protocol.mixed_gallery(labels, pairing.kinds)


def embedding_tasks(
    protocol: Protocol, labels: Sequence[SampleLabels], pairings: Iterable[Pairing]
) -> list[EmbeddingTask]:
    """Every distinct vector that the pairings need, in a fixed order.

    All gallery candidates are embedded, so that other trials or another sampling need no new vectors.
    """
    work: dict[str, EmbeddingTask] = {}
    for pairing in pairings:
        queries, gallery = select_items(protocol, labels, pairing)
        sides: tuple[tuple[Side, Sequence[ProtocolQuery | GalleryItem]], ...] = (
            ("query", queries.items),
            ("gallery", gallery.items),
        )
        for side, items in sides:
            for item in items:
                key = parts_key(item.parts, side)
                work.setdefault(key, EmbeddingTask(key, side, item.parts))
    return list(work.values())


def score_pairing(
    protocol: Protocol,
    labels: Sequence[SampleLabels],
    pairing: Pairing,
    features: Features,
    reranking: RerankConfig | None = None,
) -> PairingScores:
    """Metrics of one pairing.

    Raises DataError for an empty side, or a feature that is missing or not finite.
    """
    queries, gallery = select_items(protocol, labels, pairing)
    for side, size, name in (
        ("query", len(queries.items), subset_name(pairing.query_used)),
        ("gallery", len(gallery.items), pairing.gallery_name),
    ):
        if not size:
            raise DataError(f"No {side} sample of this split has {name!r}.")
    draws = protocol.gallery_trials(gallery.items)
    sides = label_arrays_of(queries.items, gallery.items, labels)
    vectors = (
        stack_features(queries.items, "query", features),
        stack_features(gallery.items, "gallery", features),
    )
    if vectors[0].shape[1] != vectors[1].shape[1]:
        sizes = " and ".join(str(v.shape[1]) for v in vectors)
        raise DataError(f"Query and gallery vectors have {sizes} numbers; {_FOREIGN}")
    ways: list[Exclude] = [protocol.exclude]
    if protocol.keeps_sources(pairing.query_used):
        ways.append(protocol.exclude_sources)
    trials: list[_Trial] = []
    for draw in draws:
        rows = slice(None) if _whole(draw, gallery.items) else torch.tensor(draw)
        pair_of = (vectors[0], vectors[1][rows]), (sides[0], sides[1][rows])
        trials.append(_trial(protocol.config, *pair_of, ways, reranking))
    found = [over_trials(column) for column in zip(*(t.metrics for t in trials), strict=True)]
    return PairingScores(
        pairing,
        found[0],
        queries,
        gallery,
        query_pids=sides[0].pid,
        draws=tuple(map(tuple, draws)),
        compare=trials[0].compare,
        without_source=found[1] if len(found) > 1 else None,
    )


@dataclass(frozen=True, eq=False)
class _Trial:
    metrics: list[RetrievalMetrics]  # for each way to exclude
    compare: Compare


def _trial(
    config: ProtocolConfig,
    vectors: tuple[Tensor, Tensor],
    sides: tuple[LabelArrays, LabelArrays],
    ways: Sequence[Exclude],
    reranking: RerankConfig | None,
) -> _Trial:
    """Results of one gallery."""
    check_features(vectors[0], len(sides[0]), "query")
    check_features(vectors[1], len(sides[1]), "gallery")
    compare = cosine(*vectors) if reranking is None else rerank(*vectors, reranking)
    measured = [
        evaluate_features(*vectors, *sides, exclude, ranks=config.ranks, cmc=config.cmc, compare=compare)
        for exclude in ways
    ]
    return _Trial(measured, compare)


def _whole(draw: Sequence[int], items: Sequence[GalleryItem]) -> bool:
    return len(draw) == len(items) and list(draw) == list(range(len(items)))


_FOREIGN = "features are of another model, shard set or worklist. Embed again."


def stack_features(
    items: Sequence[ProtocolQuery] | Sequence[GalleryItem], side: Side, features: Features
) -> Tensor:
    """(n, dim) float32 vectors of items. Raises DataError naming the first one without a feature."""
    rows: list[npt.NDArray[np.float32]] = []
    for item in items:
        vector = features.get(parts_key(item.parts, side))
        name = next(iter(item.parts.values())).sample_id
        if vector is None:
            raise DataError(f"No {side} vector of {name!r}: {_FOREIGN}")
        if rows and len(vector) != len(rows[0]):
            raise DataError(
                f"The {side} vector of {name!r} has {len(vector)} numbers, others {len(rows[0])}: {_FOREIGN}"
            )
        rows.append(vector)
    return torch.from_numpy(np.stack(rows))
