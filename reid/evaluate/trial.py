"""One gallery and its queries, ready to be scored: vectors, labels, and what is excluded.

Any process that has a trial can score any of its queries, and results of parts are joined by
`joined_metrics`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from reid.config import RerankConfig
from reid.evaluate.metrics.comparing import Compare, Rows, check_features, cosine
from reid.evaluate.metrics.group_scores import GroupScores, group_scores
from reid.evaluate.metrics.ranking import GalleryOrder
from reid.evaluate.metrics.reranking import rerank
from reid.evaluate.metrics.retrieval import RetrievalMetrics, rank_queries
from reid.evaluate.protocols.label_arrays import LabelArrays
from reid.evaluate.protocols.protocol import Protocol


@dataclass(frozen=True, eq=False)
class Trial:
    """What is needed to score queries against one gallery.

    >>> from reid.evaluate.protocols.label_arrays import coded_labels
    >>> from reid.evaluate.protocols.protocol import get_protocol
    >>> labels = coded_labels([4, 7])
    >>> trial = Trial(get_protocol("all"), torch.eye(2), torch.eye(2), labels, labels)
    >>> [metrics.mAP for metrics in trial.measured()]
    [1.0]
    """

    protocol: Protocol
    q: Rows
    g: Rows
    q_meta: LabelArrays
    g_meta: LabelArrays
    without_source: bool = False  # whether a second result leaves out what queries were made from
    reranking: RerankConfig | None = None
    groups: tuple[GroupScores, ...] = ()  # how a model compares them; none: by the cosine of whole vectors

    @cached_property
    def compare(self) -> Compare:
        """Similarities of some queries to the gallery; log likelihood ratios where those rank it.

        Raises DataError for features that are not finite.
        """
        check_features(self.q, len(self.q_meta), "query")
        check_features(self.g, len(self.g_meta), "gallery")
        for one in self.groups[1:]:
            check_features(one.q, len(self.q_meta), "query")
        if self.reranking is not None:
            return rerank(self.q, self.g, self.reranking)
        return group_scores(self.g, self.groups) if self.groups else cosine(self.q, self.g)

    def measured(self, rows: slice | None = None) -> list[RetrievalMetrics]:
        """The results of some queries, or of all: as the protocol counts, and without sources where asked.

        Args:
            rows: a slice with a start and a stop.

        Raises DataError for features that are not finite.
        """
        ways: list[Callable[[LabelArrays, LabelArrays], Tensor]] = [self.protocol.exclude]
        if self.without_source:
            ways.append(self.protocol.exclude_sources)
        config, which = self.protocol.config, rows or slice(0, len(self.q_meta))
        return [
            rank_queries(
                self.compare,
                self.q_meta,
                self.g_meta,
                self._items,
                which,
                exclude,
                ranks=config.ranks,
                cmc=config.cmc,
            )
            for exclude in ways
        ]

    @cached_property
    def _items(self) -> GalleryOrder:
        device = self.g.device if isinstance(self.g, Tensor) else torch.device("cpu")
        return GalleryOrder(self.g_meta.pid.to(device))
