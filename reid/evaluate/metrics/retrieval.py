"""Retrieval metrics: mAP, mINP and CMC with exclusions, their chance levels, and confidence intervals.

Gallery items are ranked by descending similarity; equal similarities are ordered by gallery index. Excluded
items are removed from the ranking. For each query, AP is the mean precision at the ranks of its positives,
and INP is the number of positives divided by the rank of the last one (Ye et al., TPAMI 2021, AGW). CMC@k is
the share of queries with a positive among the first k items, or among the first k identities, each at the
rank of its best item (SYSU-MM01). A query without positives is skipped and counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from reid.config.protocols.spec import RANKS, CmcList
from reid.errors import DataError
from reid.evaluate.metrics.comparing import (
    BLOCK,
    LEAST,
    Compare,
    Rows,
    check_features,
    cosine,
    rows_at_a_time,
)
from reid.evaluate.metrics.ranking import GalleryOrder, QueryRanks, rank
from reid.evaluate.protocols.label_arrays import LabelArrays

Exclude = Callable[[LabelArrays, LabelArrays], Tensor]


@dataclass(frozen=True, eq=False)
class RetrievalMetrics:
    """Results of each query, and their means over the queries that have a positive (NaN when none has).

    All tensors have shape (Q,), lie on the CPU and are in query order.

    >>> metrics = rank_metrics(torch.eye(2), torch.tensor([0, 1]), torch.tensor([0, 1]))
    >>> metrics.queries, metrics.skipped, metrics.mAP, metrics.summary()["R1"]
    (2, 0, 1.0, 1.0)
    """

    ap: Tensor  # float64 in (0, 1]; NaN for a skipped query
    inp: Tensor  # float64 in (0, 1]; NaN for a skipped query
    first_hit: Tensor  # int64 rank of the first positive, from 1; 0 for a skipped query
    positives: Tensor  # int64 positives left in the ranking
    candidates: Tensor  # int64 gallery items left in the ranking
    ranks: tuple[int, ...] = RANKS
    listed: Tensor | None = None  # int64 as first_hit in the list of identities, if CMC is counted on it

    @property
    def valid(self) -> Tensor:
        """(Q,) bool: queries that have a positive."""
        return self.positives > 0

    @property
    def queries(self) -> int:
        """Number of queries that have a positive."""
        return int(self.valid.sum())

    @property
    def skipped(self) -> int:
        """Number of queries without a positive."""
        return len(self.positives) - self.queries

    @property
    def mAP(self) -> float:  # noqa: N802
        """Mean average precision, in [0, 1]."""
        return float(self.ap.nanmean())

    @property
    def mINP(self) -> float:  # noqa: N802
        """Mean inverse negative penalty, in [0, 1]."""
        return float(self.inp.nanmean())

    @property
    def cmc(self) -> tuple[float, ...]:
        """CMC at each of `ranks`."""
        return tuple(self.cmc_at(rank) for rank in self.ranks)

    def cmc_at(self, rank: int) -> float:
        """CMC@rank: share of valid queries with a positive among the first `rank` items (or identities)."""
        hits = self.first_hit if self.listed is None else self.listed
        return float((hits[self.valid] <= rank).double().mean())

    @property
    def chance_mAP(self) -> float:  # noqa: N802
        """Exact expectation of mAP under a random order of the remaining items."""
        n, m = self._counts()
        spread = torch.where(n > 1, (m - 1) / (n - 1).clamp(min=1), torch.zeros_like(n))
        harmonic = torch.digamma(n + 1) + np.euler_gamma
        return float((spread + (1 - spread) * harmonic / n).mean())

    def chance_cmc(self, rank: int) -> float:
        """Exact expectation of CMC@rank under a random order of the remaining items.

        NaN beyond rank 1 for the list of identities: there it depends on the items of every identity.
        """
        if self.listed is not None and rank > 1:
            return float("nan")
        n, m = self._counts()
        others, total = _log_choose(n - m, rank), _log_choose(n, rank)
        missed = torch.where(n - m >= rank, torch.exp(others - total), torch.zeros_like(n))
        return float((1 - missed).mean())

    def summary(self) -> dict[str, float]:
        """The means as one mapping: "mAP", "R<k>" for each rank, "mINP", "queries", "skipped"."""
        means = {
            "mAP": self.mAP,
            **{f"R{k}": self.cmc_at(k) for k in self.ranks},
            "mINP": self.mINP,
        }
        return {**means, "queries": self.queries, "skipped": self.skipped}

    def _counts(self) -> tuple[Tensor, Tensor]:
        return self.candidates[self.valid].double(), self.positives[self.valid].double()


def rank_metrics(
    similarity: Tensor,
    q_pid: Tensor,
    g_pid: Tensor,
    exclude: Tensor | None = None,
    ranks: Sequence[int] = RANKS,
    chunk: int | None = None,
    cmc: CmcList = "images",
) -> RetrievalMetrics:
    """Compute the metrics of a similarity matrix.

    Args:
        similarity: (Q, G) finite numbers, compared as float32; higher means more similar.
        q_pid: (Q,) int64 identities of the queries.
        g_pid: (G,) int64 identities of the gallery items.
        exclude: (Q, G) bool; True removes the pair from the ranking.
        ranks: ranks k at which CMC is reported.
        chunk: queries ranked at a time; default: few calls, for each wakes torch's threads, which then wait
            busily for a while and take the processors from ours.
        cmc: list on which CMC is counted: "images" or "identities".

    Returns:
        The results of each query and their means.

    Raises DataError for an empty side, shapes that disagree, or a similarity that is not finite.

    >>> similarity = torch.tensor([[0.9, 0.8, 0.1]])
    >>> metrics = rank_metrics(similarity, torch.tensor([7]), torch.tensor([3, 7, 7]))
    >>> round(metrics.mAP, 4), metrics.cmc_at(1), metrics.cmc_at(2)
    (0.5833, 0.0, 1.0)
    """
    _check_shapes(similarity, q_pid, g_pid, exclude)
    chunk = chunk or max(LEAST, BLOCK // len(g_pid))
    table, items = _Table(len(similarity), cmc), GalleryOrder(g_pid)
    for start in range(0, len(similarity), chunk):
        rows = slice(start, start + chunk)
        block = similarity[rows]
        if not torch.isfinite(torch.stack(torch.aminmax(block))).all():
            raise DataError(f"Similarities of queries {start}.. are not finite; check the features.")
        drop = None if exclude is None else exclude[rows]
        table.put(rows, rank(block, q_pid[rows], items, drop, cmc == "identities"))
    return table.metrics(ranks)


def evaluate_features(
    q: Rows,
    g: Rows,
    q_meta: LabelArrays,
    g_meta: LabelArrays,
    exclude: Exclude | None = None,
    ranks: Sequence[int] = RANKS,
    chunk: int | None = None,
    cmc: CmcList = "images",
    compare: Compare | None = None,
) -> RetrievalMetrics:
    """Rank gallery features by cosine similarity to query features, and compute the metrics.

    Args:
        q: (Q, D) query features, a tensor or rows of a feature table; they need not have unit norm.
        g: (G, D) gallery features, likewise.
        q_meta, g_meta: labels of both sides.
        exclude: function of the labels of q queries and of all items -> (q, G) bool; True removes a pair.
        ranks: ranks k at which CMC is reported.
        chunk: queries ranked at a time; default: as many as fit a fixed memory bound.
        cmc: list on which CMC is counted: "images" or "identities".
        compare: function of a slice of queries -> (q, G) similarities that replaces the cosine (re-ranking).

    Returns:
        The results of each query and their means.

    Raises DataError for an empty side, shapes that disagree, or features that are not finite.

    >>> from reid.evaluate.protocols.items import Provenance, SampleLabels
    >>> from reid.evaluate.protocols.label_arrays import label_arrays_of
    >>> from reid.evaluate.protocols.protocol import get_protocol
    >>> from reid.modality import Modality
    >>> photo = {Modality.RGB: Provenance()}
    >>> labels = [SampleLabels(f"{n}", "mine", pid, images=photo) for n, pid in enumerate([1, 1, 2, 2])]
    >>> protocol = get_protocol("all")
    >>> queries = protocol.queries(labels, [Modality.RGB]).items
    >>> items = protocol.gallery(labels, [Modality.RGB]).items
    >>> features = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]])
    >>> arrays = label_arrays_of(queries, items, labels)
    >>> evaluate_features(features, features, *arrays, exclude=protocol.exclude).mAP
    1.0
    """
    check_features(q, len(q_meta), "query")
    check_features(g, len(g_meta), "gallery")
    if q.shape[1] != g.shape[1]:
        raise DataError(f"Query features have {q.shape[1]} columns and gallery features {g.shape[1]}.")
    device = g.device if isinstance(g, Tensor) else torch.device("cpu")
    items = GalleryOrder(g_meta.pid.to(device))
    every = slice(0, len(q))
    return rank_queries(
        compare or cosine(q, g), q_meta, g_meta, items, every, exclude, ranks=ranks, chunk=chunk, cmc=cmc
    )


def rank_queries(
    compare: Compare,
    q_meta: LabelArrays,
    g_meta: LabelArrays,
    items: GalleryOrder,
    which: slice,
    exclude: Exclude | None = None,
    ranks: Sequence[int] = RANKS,
    chunk: int | None = None,
    cmc: CmcList = "images",
) -> RetrievalMetrics:
    """Rank a gallery for some of the queries: what one process does of an evaluation.

    Args:
        compare: function of a slice of queries -> (q, G) similarities.
        q_meta, g_meta: labels of all queries and of the gallery.
        items: the identities of the gallery, on the device where it is ranked.
        which: a slice of the queries, with a start and a stop.
        exclude, ranks, chunk, cmc: as in `evaluate_features`.

    Returns:
        The results of these queries.

    >>> from reid.evaluate.protocols.label_arrays import coded_labels
    >>> labels, order = coded_labels([4, 7]), GalleryOrder(torch.tensor([4, 7]))
    >>> rank_queries(cosine(torch.eye(2), torch.eye(2)), labels, labels, order, slice(1, 2)).first_hit
    tensor([1])
    """
    chunk = chunk or rows_at_a_time(len(g_meta))
    device = items.pid.device
    table = _Table(which.stop - which.start, cmc)
    for start in range(which.start, which.stop, chunk):
        rows = slice(start, min(start + chunk, which.stop))
        drop = None if exclude is None else exclude(q_meta[rows], g_meta).to(device)
        q_pid = q_meta.pid[rows].to(device)
        found = rank(compare(rows).to(device), q_pid, items, drop, cmc == "identities")
        table.put(slice(rows.start - which.start, rows.stop - which.start), found)
    return table.metrics(ranks)


def joined_metrics(parts: Sequence[RetrievalMetrics]) -> RetrievalMetrics:
    """The metrics of queries that were ranked in several parts, in the order of the parts.

    >>> one = rank_metrics(torch.eye(2), torch.arange(2), torch.arange(2))
    >>> joined_metrics([one, one]).queries
    4
    """
    names = ("ap", "inp", "first_hit", "positives", "candidates")
    columns = {name: torch.cat([getattr(part, name) for part in parts]) for name in names}
    listed = [part.listed for part in parts if part.listed is not None]
    return RetrievalMetrics(**columns, ranks=parts[0].ranks, listed=torch.cat(listed) if listed else None)


def bootstrap_map(
    metrics: RetrievalMetrics,
    q_pid: Tensor,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float] | None:
    """Percentile bootstrap interval of mAP.

    Whole identities are resampled with replacement, because queries of one identity are not independent.

    Args:
        metrics: results of Q queries.
        q_pid: (Q,) int64 identities of the queries.
        resamples: number of bootstrap samples.
        level: coverage of the interval, between 0 and 1.
        seed: seed of the random generator.

    Returns:
        (low, high), both in [0, 1]; None with fewer than two identities.

    >>> pids = torch.arange(4)
    >>> bootstrap_map(rank_metrics(torch.eye(4), pids, pids), pids)
    (1.0, 1.0)
    """
    kept = metrics.valid
    _, identity = torch.unique(q_pid.cpu()[kept], return_inverse=True)
    count = np.bincount(identity.numpy()).astype(np.float64)
    if len(count) < 2:
        return None
    total = np.bincount(identity.numpy(), weights=metrics.ap[kept].numpy())
    uniform = np.full(len(count), 1 / len(count))
    draws = np.random.default_rng(seed).multinomial(len(count), uniform, size=resamples)
    low, high = np.quantile((draws @ total) / (draws @ count), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _check_shapes(similarity: Tensor, q_pid: Tensor, g_pid: Tensor, exclude: Tensor | None) -> None:
    wanted = (len(q_pid), len(g_pid))
    if tuple(similarity.shape) != wanted:
        raise DataError(f"Similarity is {tuple(similarity.shape)} but the labels are for {wanted}.")
    if exclude is not None and tuple(exclude.shape) != wanted:
        raise DataError(f"The exclusion mask is {tuple(exclude.shape)} but the labels are for {wanted}.")
    if 0 in wanted:
        raise DataError(f"Nothing to evaluate: {wanted[0]} queries and {wanted[1]} gallery items.")


class _Table:
    """Results of Q queries, filled in chunks; allocated at once, for many small results split up the heap."""

    def __init__(self, count: int, cmc: CmcList) -> None:
        self.ap, self.inp = (torch.empty(count, dtype=torch.float64) for _ in range(2))
        self.first_hit, self.positives, self.candidates, self.listed = (
            torch.empty(count, dtype=torch.int64) for _ in range(4)
        )
        self.has_list = cmc == "identities"

    def put(self, rows: slice, ranked: QueryRanks) -> None:
        for name, column in ranked._asdict().items():
            if column is not None:
                getattr(self, name)[rows] = column

    def metrics(self, ranks: Sequence[int]) -> RetrievalMetrics:
        listed = self.listed if self.has_list else None
        columns = (self.ap, self.inp, self.first_hit, self.positives, self.candidates)
        return RetrievalMetrics(*columns, ranks=tuple(ranks), listed=listed)


def _log_choose(n: Tensor, k: int) -> Tensor:
    """log C(n, k) by the gamma function; meaningless (and unused) where n < k."""
    return torch.lgamma(n + 1) - torch.lgamma(torch.tensor(k + 1.0)) - torch.lgamma((n - k).clamp(min=0) + 1)
