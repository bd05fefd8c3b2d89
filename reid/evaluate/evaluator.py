"""One evaluation: pairings of modality subsets -> vectors to embed -> metrics from features by key.

Features are found by the key of their parts, so one embedding serves every pairing, trial and protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor

from reid.config import RerankConfig
from reid.config.protocols.query_names import AskedQuery
from reid.errors import DataError, UsageError
from reid.evaluate.features.table import FeatureRows, FeatureTable, Ints, key_codes
from reid.evaluate.features.work import EmbeddingTask
from reid.evaluate.metrics.comparing import Rows, tensor_of
from reid.evaluate.metrics.group_scores import GroupScores, Ranking
from reid.evaluate.metrics.retrieval import RetrievalMetrics
from reid.evaluate.metrics.trials import over_trials
from reid.evaluate.protocols.item_table import CHUNK, ItemTable, Selection
from reid.evaluate.protocols.items import GalleryItem, Parts, ProtocolQuery, SampleLabels, Side, parts_key
from reid.evaluate.protocols.label_arrays import label_arrays_of
from reid.evaluate.protocols.label_columns import label_table_of
from reid.evaluate.protocols.pairing import Pairing
from reid.evaluate.protocols.protocol import Protocol
from reid.evaluate.several_samples import pooled
from reid.evaluate.trial import Trial
from reid.modality import Subset, canonical

Features = Mapping[str, npt.NDArray[np.float32]]
Rankings = Callable[[Subset, Subset], Ranking]
"""Query and gallery subset -> what ranks their scores among those of others."""
Measure = Callable[[Trial], Sequence[RetrievalMetrics]]
"""The results of one gallery, for each way to exclude."""


@dataclass(frozen=True, eq=False)
class PairingScores:
    """A pairing's metrics with what they were computed from."""

    pairing: Pairing
    metrics: RetrievalMetrics  # over the trials
    queries: Selection[ProtocolQuery]
    gallery: Selection[GalleryItem]  # everything that a trial may draw
    query_pids: Tensor  # (Q,) identity codes, numbered in the order of the queries
    draws: tuple[Sequence[int], ...]  # positions in `gallery` of each trial's items
    first: Trial  # vectors and labels of the first trial
    without_source: RetrievalMetrics | None = None  # where `metrics` keep what a query describes

    @property
    def first_gallery(self) -> ItemTable[GalleryItem]:
        """The items of the first trial."""
        draw = self.draws[0]
        return self.gallery.items if isinstance(draw, range) else self.gallery.items.take(np.array(draw))


def select_items(
    protocol: Protocol, labels: Sequence[SampleLabels], pairing: Pairing
) -> tuple[Selection[ProtocolQuery], Selection[GalleryItem]]:
    """The queries of a pairing, and every item that any of its galleries may contain."""
    queries = protocol.queries(labels, pairing.query_used, pairing.gathered)
    return queries, protocol.mixed_gallery(labels, pairing.kinds)


def embedding_tasks(
    protocol: Protocol, labels: Sequence[SampleLabels], pairings: Iterable[Pairing]
) -> Iterator[EmbeddingTask]:
    """Every distinct vector that the pairings need, in a fixed order; made as they are asked for.

    All gallery candidates are embedded, so that other trials or another sampling need no new vectors.
    """
    table = label_table_of(labels)
    pairings = list(pairings)
    asked: set[tuple[AskedQuery, Subset]] = set()
    shown: set[Subset] = set()  # a kind gives the same items whatever the gallery
    repeated = any(p.anchor is not None or p.asked != (p.query_used,) for p in pairings)
    known: set[bytes] = set()  # queries with other anchors, or more parts than are asked with, share views
    for pairing in pairings:
        queries, gallery = select_items(protocol, table, pairing)
        for subset in pairing.asked:
            if (pairing.gathered, subset) in asked:
                continue
            asked.add((pairing.gathered, subset))
            for parts in chain.from_iterable(queries.items.views(subset)):
                key = parts_key(parts, "query")
                if repeated:
                    if (code := bytes.fromhex(key)) in known:
                        continue
                    known.add(code)
                yield EmbeddingTask(key, "query", parts)
        new = set(pairing.kinds) - shown
        shown |= new
        if new:
            for parts in gallery.items.parts():
                if canonical(parts) in new:
                    yield EmbeddingTask(parts_key(parts, "gallery"), "gallery", parts)


def score_pairing(
    protocol: Protocol,
    labels: Sequence[SampleLabels],
    pairing: Pairing,
    features: Features,
    reranking: RerankConfig | None = None,
    measure: Measure = Trial.measured,
    rankings: Rankings | None = None,
) -> PairingScores:
    """Metrics of one pairing.

    `measure` computes the results of one gallery, for each way to exclude; by default here, in one go.
    `rankings` is asked where likelihood ratios rank kinds of items together. Raises DataError for an empty
    side, or a feature that is missing or not finite, UsageError where `check_reranking` does.
    """
    if reranking is not None:
        check_reranking(pairing)
    table = label_table_of(labels)
    queries, gallery = select_items(protocol, table, pairing)
    for side, size, name in (
        ("query", len(queries.items), pairing.query_name),
        ("gallery", len(gallery.items), pairing.gallery_name),
    ):
        if not size:
            raise DataError(f"No {side} sample of this split has {name!r}.")
    draws = protocol.gallery_trials(gallery.items)
    sides = label_arrays_of(queries.items, gallery.items, table)
    whole = feature_rows(gallery.items, "gallery", features)
    asked = {subset: feature_rows(queries.items, "query", features, subset) for subset in pairing.asked}
    q = asked[pairing.asked[0]]
    if q.shape[1] != whole.shape[1]:
        sizes = f"{q.shape[1]} and {whole.shape[1]}"
        raise DataError(f"Query and gallery vectors have {sizes} numbers; {_FOREIGN}")
    both = protocol.keeps_sources(pairing.query_used)
    first: Trial | None = None
    found: list[Sequence[RetrievalMetrics]] = []
    for draw in draws:
        g, g_meta, kind = whole, sides[1], gallery.items.kind
        if not isinstance(draw, range):
            g, g_meta = g[_places(g, draw)], g_meta[torch.tensor(draw)]
            kind = None if kind is None else kind[np.array(draw)]
        groups = scored_groups(pairing, asked, kind, rankings)
        trial = Trial(protocol, q, g, sides[0], g_meta, both, reranking, groups)
        first = first or trial
        found.append(measure(trial))
    assert first is not None  # a protocol has a trial at least
    means = [over_trials(column) for column in zip(*found, strict=True)]
    return PairingScores(
        pairing,
        means[0],
        queries,
        gallery,
        query_pids=_numbered(sides[0].pid),
        draws=tuple(draws),
        first=first,
        without_source=means[1] if len(means) > 1 else None,
    )


def check_reranking(pairing: Pairing) -> None:
    """Raise UsageError where re-ranking does not apply: items must compare with each other by cosine.

    >>> from reid.modality import Modality
    >>> check_reranking(Pairing(*[(Modality.RGB,)] * 4))
    """
    if pairing.how and not (len(pairing.how.groups) == 1 and pairing.how.groups[0].form.plain):
        raise UsageError(
            f"evaluate.rerank: {pairing.name} is not compared by one cosine of whole vectors, so that items "
            "have no distances among themselves. Leave evaluate.rerank out (null), or measure other pairings."
        )


def scored_groups(
    pairing: Pairing,
    asked: Mapping[Subset, Rows],
    kind: npt.NDArray[np.integer[Any]] | None,
    rankings: Rankings | None = None,
) -> tuple[GroupScores, ...]:
    """How the items of one gallery are compared with queries.

    Args:
        pairing: of subsets.
        asked: the queries' vectors by the subset that they are embedded in.
        kind: (G,) place in `pairing.kinds` of each item; None: all are of the first.
        rankings: of the pairing's subsets, where likelihood ratios rank them.
    """
    if pairing.how is None:
        return ()
    made = []
    for group in pairing.how.groups:
        ratio = None
        if pairing.how.by_ratio:
            assert rankings is not None, "a pairing is made of calibrated kinds only"
            ratio = rankings(group.query, group.stored[0])
        subset = places = None
        if kind is not None:
            in_group = [group.stored.index(of) if of in group.stored else -1 for of in pairing.kinds]
            subset = np.array(in_group)[kind]
            if len(pairing.how.groups) > 1:
                places = np.flatnonzero(subset >= 0)
                subset = subset[places]
        made.append(GroupScores(group, asked[group.query], subset, places, ratio))
    return tuple(made)


def _places(rows: Rows, draw: Sequence[int]) -> Any:
    return torch.tensor(draw) if isinstance(rows, Tensor) else np.array(draw)


def _numbered(codes: Tensor) -> Tensor:
    """The same codes, numbered from 0 in the order in which they come first."""
    numbers = pa.array(codes.numpy()).dictionary_encode().indices.to_numpy()
    return torch.from_numpy(numbers.astype(np.int64))


_FOREIGN = "features are of another model, shard set or worklist. Embed again."


def stack_features(
    items: Sequence[ProtocolQuery] | Sequence[GalleryItem], side: Side, features: Features
) -> Tensor:
    """(n, dim) float32 vectors of items. Raises DataError naming the first one without a feature."""
    return tensor_of(feature_rows(items, side, features))


def feature_rows(
    items: Sequence[ProtocolQuery] | Sequence[GalleryItem],
    side: Side,
    features: Features,
    subset: Subset | None = None,
) -> Rows:
    """The (n, dim) vectors of items: of a table where they lie, of a mapping as a tensor.

    `subset` is that of their modalities which is embedded; None: all that each has. The vector of a query
    with several samples of a modality is the one of its views. Raises DataError naming the first item without
    a feature.
    """
    whole = subset is None or (isinstance(items, ItemTable) and items.kinds == (subset,))
    starts: Ints | None = None
    keys: Iterator[str]
    if isinstance(items, ItemTable) and items.averaged:
        views = [[parts_key(parts, side) for parts in of] for of in items.views(subset)]
        starts = np.cumsum([0, *map(len, views)])
        keys = chain.from_iterable(views)
    elif whole and isinstance(items, ItemTable):
        keys = items.keys()
    else:
        keys = (parts_key(_used(item.parts, None if whole else subset), side) for item in items)
    if not isinstance(features, FeatureTable):
        found = _stacked(keys, lambda row: _named(items, row, starts), side, features)
        return found if starts is None else torch.from_numpy(pooled(found.numpy(), starts))
    chunks = [np.zeros(0, np.int64)]
    while chunk := list(islice(keys, CHUNK)):
        chunks.append(features.find(key_codes(chunk)))
    rows = np.concatenate(chunks)
    missing = np.flatnonzero(rows < 0)
    if len(missing):
        raise DataError(f"No {side} vector of {_named(items, int(missing[0]), starts)!r}: {_FOREIGN}")
    return FeatureRows(features, rows, starts)


def _used(parts: Parts, subset: Subset | None) -> Parts:
    return parts if subset is None else {m: parts[m] for m in subset}


def _named(items: Sequence[ProtocolQuery] | Sequence[GalleryItem], row: int, starts: Ints | None) -> str:
    """The sample of the item that a vector is of, or one of whose views it is."""
    place = row if starts is None else int(np.searchsorted(starts, row, side="right")) - 1
    return next(iter(items[place].parts.values())).sample_id


def _stacked(keys: Iterable[str], name: Callable[[int], str], side: Side, features: Features) -> Tensor:
    rows: list[npt.NDArray[np.float32]] = []
    for place, key in enumerate(keys):
        vector = features.get(key)
        if vector is None:
            raise DataError(f"No {side} vector of {name(place)!r}: {_FOREIGN}")
        if rows and len(vector) != len(rows[0]):
            raise DataError(
                f"The {side} vector of {name(place)!r} has {len(vector)} numbers, others {len(rows[0])}: "
                f"{_FOREIGN}"
            )
        rows.append(vector)
    return torch.from_numpy(np.stack(rows))
