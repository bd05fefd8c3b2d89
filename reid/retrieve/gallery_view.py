"""One version of a gallery, ready to answer one run's queries: how each is compared, and what is found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from reid.comparison.calibration import PairCalibration
from reid.comparison.mixed import ComparedGroup, Stored, uncalibrated
from reid.data.batches.batch_row import BatchRow
from reid.errors import UnsupportedPairing
from reid.evaluate.several_samples import pooled
from reid.gallery.rows import Vectors
from reid.gallery.search import Hit, Mode, Searcher
from reid.gallery.store import Gallery
from reid.gallery.subset_choice import ComparedGallery, plan
from reid.modality import Subset, subset_name
from reid.retrieve.answers import SearchQuery
from reid.retrieve.confidence import Confidence, confidence

if TYPE_CHECKING:
    from reid.runs.run import Run


PLANS = 1024
"""Comparisons of query subsets that are remembered."""


class GalleryView:
    """A snapshot with its indexes. `previous`, a view of an earlier version, lends what it has built."""

    def __init__(self, run: Run, gallery: Gallery, mode: Mode, previous: GalleryView | None = None) -> None:
        self.run = run
        self.snapshot = gallery.snapshot()
        alike = previous is not None and previous.snapshot.dim == gallery.dim
        earlier: Searcher | None = previous.searcher if previous and alike else None
        self.searcher: Searcher = Searcher(self.snapshot, mode, previous=earlier)
        self._kinds = self.snapshot.kinds
        self._plans: dict[tuple[Subset, str | None], ComparedGallery] = {}

    def plan(self, query: Subset, wanted: str | None = None) -> ComparedGallery:
        """How a query is compared: see `reid.gallery.subset_choice.plan`."""
        key = query, wanted
        found = self._plans.get(key)
        if found is None:
            if len(self._plans) >= PLANS:  # clients choose what they want
                self._plans.clear()
            model, known = self.run.model, self.run.calibration
            found = plan(
                query,
                wanted,
                model.comparison_rule,
                model.comparison,
                self.snapshot.subsets,
                self._kinds,
                known.has if known else uncalibrated,
            )
            self._plans[key] = found
        return found

    def answerable(self) -> dict[Subset, ComparedGallery]:
        """The query subsets that this gallery answers, and how."""
        found = {}
        for subset in self.run.model.supported("query"):
            try:
                found[subset] = self.plan(subset)
            except UnsupportedPairing:
                continue
        return found

    def groups(self, like: GalleryView | None = None) -> list[ComparedGroup]:
        """What the queries that this gallery answers are compared with.

        Of another view `like` only subsets that it has indexes of.
        """
        if like is not None and not like.searcher.built:
            return []
        found = [group for chosen in self.answerable().values() for group in chosen.groups]
        if like is None:
            return found
        built = {subset for name in like.searcher.built for subset in name.split("|")}
        return [group for group in found if built & set(group.gallery_name.split("|"))]

    def hits(
        self,
        rows: Sequence[Sequence[BatchRow]],
        plans: Sequence[ComparedGallery],
        k: Sequence[int],
        embed: Callable[[Sequence[BatchRow]], Vectors],
    ) -> list[list[Hit]]:
        """The best items of each query, over all groups of its plan.

        Args:
            rows: the views of each query with all their parts; one, where it has one sample of a modality.
            plans: how each is compared.
            k: how many items each wants.
            embed: vectors of rows.
        """
        asked = list(dict.fromkeys((i, group.query) for i, of in enumerate(plans) for group in of.groups))
        views = [replace(row, parts={m: row.parts[m] for m in of}) for i, of in asked for row in rows[i]]
        vectors = pooled(embed(views), np.cumsum([0, *(len(rows[i]) for i, _ in asked)]))
        vector_of = dict(zip(asked, vectors, strict=True))
        members: dict[tuple[Subset, Stored, frozenset[Stored]], list[tuple[int, ComparedGroup]]] = {}
        for i, chosen in enumerate(plans):
            for group in chosen.groups:
                members.setdefault((group.query, group.stored, group.kinds), []).append((i, group))
        found: list[list[tuple[float, Hit]]] = [[] for _ in plans]
        for together in members.values():
            group = together[0][1]
            queries = np.stack([vector_of[i, group.query] for i, _ in together])
            lists = self.searcher.search(queries, group, max(k[i] for i, _ in together))
            for (i, _), hits in zip(together, lists, strict=True):
                found[i] += zip(self._ranks(plans[i], group, hits), hits, strict=True)
        return [
            [hit for _, hit in sorted(one, key=lambda pair: (-pair[0], pair[1].row))[:most]]
            for one, most in zip(found, k, strict=True)
        ]

    def _ranks(self, chosen: ComparedGallery, group: ComparedGroup, hits: Sequence[Hit]) -> list[float]:
        """What orders hits of several groups: their scores, or log likelihood ratios."""
        scores = np.array([hit.score for hit in hits], np.float32)
        if chosen.by_ratio:
            pair = self._calibration(group.query, group.stored[0])
            assert pair is not None, "only calibrated groups are merged by ratio"
            scores = pair.ranking(scores).astype(np.float32)
        found: list[float] = scores.tolist()
        return found

    def _calibration(self, query: Subset, gallery: Subset) -> PairCalibration | None:
        return self.run.calibration.of(query, gallery) if self.run.calibration else None

    def confidence(self, query: SearchQuery, chosen: ComparedGallery, prior: float | None) -> Confidence:
        """What a query's hits are judged by: see `reid.retrieve.confidence.confidence`."""
        pairs: dict[str, PairCalibration] = {}
        lacking: dict[str, str] = {}
        for group in chosen.groups:
            for subset in group.stored:
                asked, name = subset_name(group.query), subset_name(subset)
                pair = self._calibration(group.query, subset)
                if pair is None:
                    lacking[name] = self.run.why_uncalibrated(asked, name)
                else:
                    pairs[name] = pair
        names = chosen.query if chosen.query == chosen.gallery else f"{chosen.query}->{chosen.gallery}"
        return confidence(query, pairs, lacking, chosen.items, prior, names)
