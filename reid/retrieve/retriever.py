"""Embed and search in one process, without Ray: the core that the endpoint wraps."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from reid.config.addresses import gallery_uri
from reid.data.batches.batch_row import Parts
from reid.data.batches.tokens import unread
from reid.data.labels import both, difference
from reid.errors import AnyReIDError, DataError, GalleryError, UnsupportedPairing
from reid.gallery.rows import Item
from reid.gallery.search import Hit, IndexInfo, Mode, Searcher
from reid.gallery.snapshot import VersionGone
from reid.gallery.store import Gallery
from reid.gallery.subset_choice import ComparedSubsets, plan
from reid.modality import Modality, Subset, canonical, parse_subset, subset_name
from reid.retrieve.answers import FoundItem, NewItem, SearchQuery, SearchResult
from reid.retrieve.auxiliary_inputs import CompletedRow, QueryInputs
from reid.retrieve.confidence import Confidence, confidence
from reid.runs.contents import Content, encoded_parts, plain_parts

if TYPE_CHECKING:
    from reid.runs.run import Run

_PURGE_RETRIES = 3

log = logging.getLogger(__name__)


class _View:
    """One gallery version, ready to search."""

    def __init__(self, gallery: Gallery, mode: Mode, previous: Searcher | None = None) -> None:
        self.snapshot = gallery.snapshot()
        same = previous is not None and previous.snapshot.dim == gallery.dim
        self.searcher = Searcher(self.snapshot, mode, previous=previous if same else None)
        self.coverage = {s: self.snapshot.coverage(s) for s in self.snapshot.subsets}


class Retriever:
    """Answers queries to one gallery with one run. Safe to use from several threads.

    Raises GalleryError if the gallery's vectors are of another model. `mode` defaults to the run's
    `index.search`, `prior` to 1 / (items + 1). `Retriever.open` takes uris, too.
    """

    def __init__(
        self, run: Run, gallery: Gallery, mode: Mode | None = None, prior: float | None = None
    ) -> None:
        gallery.check_model(run.fingerprint)
        self.run = run
        self.calibration = run.calibration
        self.prior = prior
        self.gallery = gallery
        self.mode: Mode = mode or run.config.index.search
        self._refreshing = threading.Lock()
        self._embedding = threading.Lock()
        self._view = _View(gallery, self.mode)
        self.inputs = QueryInputs(run, gallery.metadata.provenance)

    @classmethod
    def open(
        cls,
        run: Run | str | Path,
        gallery: Gallery | str | Path | None = None,
        mode: Mode | None = None,
        prior: float | None = None,
    ) -> Retriever:
        """Open a run and a gallery of its vectors, each given loaded or by its local or s3:// uri.

        A folder of runs stands for its newest, a folder of galleries for the run's gallery in it. Without
        `gallery` it is the one that `python -m jobs.index` makes with the run's own configuration.
        `mode` ("exact" or "ann") defaults to the run's `index.search`, `prior` to its `serve.prior`.

        Raises WeightsError and GalleryError where there is no run, no gallery, or one of another model.

        >>> reid.Retriever.open("runs/train/mine")
        <Retriever of run mine (...) in .../runs/gallery/mine-...: 8 items (rgb), exact search>
        """
        from reid.runs.run import Run, load_run

        loaded = run if isinstance(run, Run) else load_run(run)
        if gallery is None:
            gallery = gallery_uri(loaded.config, loaded.fingerprint)
        opened = gallery if isinstance(gallery, Gallery) else Gallery.open(str(gallery), loaded.fingerprint)
        return cls(loaded, opened, mode, loaded.config.serve.prior if prior is None else prior)

    def __repr__(self) -> str:
        return (
            f"<Retriever of run {self.run.config.name} ({self.run.fingerprint}) in {self.gallery.uri}: "
            f"{self.size} items ({', '.join(self.gallery.subsets)}), {self.mode} search>"
        )

    @property
    def version(self) -> int:
        """The gallery version that searches see."""
        return self._view.snapshot.version

    @property
    def size(self) -> int:
        """Number of items in that version."""
        return len(self._view.snapshot)

    def refresh(self) -> bool:
        """Pick up a newer gallery version; True if there was one. Running searches keep theirs."""
        with self._refreshing:
            if self.gallery.version == self._view.snapshot.version:
                return False
            self._reload()
            return True

    def _reload(self) -> None:
        """Load the newest version, again if a deletion purges it meanwhile."""
        for attempt in range(_PURGE_RETRIES):
            # Opened anew, since a gallery may have been indexed anew in its place.
            gallery = Gallery.open(self.gallery.uri)
            gallery.check_model(self.run.fingerprint)
            try:
                fresh = _View(gallery, self.mode, self._view.searcher)
                fresh.searcher.warm([s for s in self._view.searcher.built if s in gallery.subsets])
            except VersionGone:
                if attempt == _PURGE_RETRIES - 1:
                    raise
                continue
            self.gallery, self._view = gallery, fresh
            return

    def warm(self) -> list[IndexInfo]:
        """Build every index now, so that the first query does not wait; says what they are."""
        return self._view.searcher.warm()

    def search(
        self,
        content: Content,
        k: int = 10,
        gallery_subset: str | None = None,
        *,
        min_probability: float | None = None,
        fpr: float | None = None,
        prior: float | None = None,
    ) -> SearchResult:
        """The k best items for one query, a picture, a sentence or a mapping of both as for `Run.embed`.

        Without `gallery_subset` the indexed subset is chosen that uses most of the query, then the
        one that most items have, then the richest. `min_probability` and `fpr` withhold hits that are
        not so sure. Raises UnsupportedPairing when the model or the gallery cannot answer, UsageError
        for an unknown modality or subset or demands on a pairing that is not calibrated, DataError naming
        the file or modality that is missing or cannot be decoded.

        >>> hits = reid.Retriever.open("runs/train/mine").search({"rgb": "a.jpg", "text": "a red coat"}, k=3)
        >>> len(hits), hits.query_subset, hits.gallery_subset
        (3, 'rgb+text', 'rgb')
        """
        parts = encoded_parts(content, self.run.sensors)
        return self.search_many([SearchQuery(parts, k, gallery_subset, min_probability, fpr, prior)])[0]

    def search_many(self, queries: Sequence[SearchQuery]) -> list[SearchResult]:
        """Answer several queries with one embedding call; all see the same gallery version."""
        for _ in range(_PURGE_RETRIES):
            view = self._view
            try:
                return self._search_many(queries, view)
            except VersionGone:
                # Something in this version was deleted: answer from the newest, or not at all.
                with self._refreshing:
                    if self._view is view:
                        self._reload()
        return self._search_many(queries, self._view)

    def search_each(self, queries: Sequence[SearchQuery]) -> list[SearchResult | AnyReIDError]:
        """As `search_many`, but a query that cannot be answered gives its error, not everyone's."""
        try:
            return list(self.search_many(queries))
        except AnyReIDError as error:
            if len(queries) == 1:
                return [error]
        half = len(queries) // 2
        return [*self.search_each(queries[:half]), *self.search_each(queries[half:])]

    def answerable(self) -> dict[str, str]:
        """{query subset that this gallery answers: gallery subset it is compared with}."""
        found: dict[str, str] = {}
        for subset in self.run.model.supported("query"):
            try:
                found[subset_name(subset)] = self._plan(subset, None, self._view).column
            except UnsupportedPairing:
                continue
        return found

    def make_items(self, entries: Sequence[NewItem]) -> list[Item]:
        """Embed captures for the gallery: one vector for every indexed subset that a capture has.

        Raises DataError naming the entry when it has none of them or a picture cannot be decoded.
        """
        from reid.data.images import thumbnail

        plain = [self._plain(entry.parts, "gallery") for entry in entries]
        entries = [replace(entry, parts=parts) for entry, (parts, _) in zip(entries, plain, strict=True)]
        slots: list[tuple[int, str]] = []
        for place, entry in enumerate(entries):
            has = set(canonical(entry.parts))
            covered = [s for s in self.gallery.subsets if set(parse_subset(s)) <= has]
            if not covered:
                raise DataError(
                    f"Item {entry.id!r} has {subset_name(has) or 'nothing'}, and the gallery "
                    "indexes "
                    f"{', '.join(self.gallery.subsets)}: send the modalities of one of these "
                    "(index.subsets)."
                )
            slots += [(place, s) for s in covered]
        for entry, (_, notes) in zip(entries, plain, strict=True):
            for note in notes:
                log.warning("item %r: %s", entry.id, note)
        whole = [done.row for done in self.inputs.rows([(e.parts, e.mask) for e in entries])]
        rows = [replace(whole[p], parts={m: whole[p].parts[m] for m in parse_subset(s)}) for p, s in slots]
        with self._embedding:
            vectors = self.run.embed_rows(rows, "gallery")
        by_entry: list[dict[str, object]] = [{} for _ in entries]
        for (place, subset), vector in zip(slots, vectors, strict=True):
            by_entry[place][subset] = vector
        longest = self.run.config.index.thumbnail
        items = []
        for entry, found in zip(entries, by_entry, strict=True):
            picture = next((entry.parts[m] for m in canonical(entry.parts) if m.is_visual), None)
            small = thumbnail(picture, entry.id, longest) if isinstance(picture, bytes) else None
            items.append(
                Item(
                    id=entry.id,
                    vectors=found,  # type: ignore[arg-type]
                    model_fingerprint=self.run.fingerprint,
                    modalities=canonical(entry.parts),
                    pid=entry.pid,
                    camid=entry.camid,
                    timestamp=entry.timestamp,
                    thumbnail=small,
                    source=entry.source,
                )
            )
        return items

    def put(self, entries: Sequence[NewItem]) -> int:
        """Embed and store captures (replacing those of the same id) and search them from now on.

        Raises GalleryError for an id that may be a stored one in another spelling.
        """
        for entry in entries:
            if (near := self._view.snapshot.near(entry.id)) is not None:
                raise GalleryError(
                    f"Item id {both(entry.id, near, ' and the stored ')} {difference(entry.id, near)}; "
                    "give the stored spelling to replace it, or an id that differs in more."
                )
        self.gallery.add(self.make_items(entries))
        self.refresh()
        return self.version

    def delete(self, ids: Sequence[str]) -> int:
        """Remove items for good, also from what is searched; returns how many there were.

        Raises GalleryError where there was none, but one in another spelling.
        """
        removed = self.gallery.delete(ids)
        self.refresh()
        for item_id in [] if removed else ids:
            if (near := self._view.snapshot.near(item_id)) is not None:
                raise GalleryError(
                    f"Item id {item_id!r} is not stored: {both(item_id, near, ' and the stored ')} "
                    f"{difference(item_id, near)}; give the stored spelling to delete it."
                )
        return removed

    def _search_many(self, queries: Sequence[SearchQuery], view: _View) -> list[SearchResult]:
        plain = [self._plain(q.parts, "query") for q in queries]
        queries = [replace(q, parts=parts) for q, (parts, _) in zip(queries, plain, strict=True)]
        plans = [self._plan(self.inputs.asked(q.parts), q.gallery_subset, view) for q in queries]
        if not plans:
            return []
        demands = [self._confidence(q, p, view) for q, p in zip(queries, plans, strict=True)]
        whole = self.inputs.rows([(q.parts, q.mask) for q in queries])
        rows = [
            replace(done.row, parts={m: done.row.parts[m] for m in p.query})
            for done, p in zip(whole, plans, strict=True)
        ]
        with self._embedding:
            vectors = self.run.embed_rows(rows, "query")
        hits: list[list[Hit]] = [[] for _ in queries]
        for column in sorted({p.column for p in plans}):
            members = [i for i, p in enumerate(plans) if p.column == column]
            deepest = max(queries[i].k for i in members)
            for i, found in zip(
                members, view.searcher.search(vectors[members], column, deepest), strict=True
            ):
                hits[i] = found[: queries[i].k]
        pictures = iter(view.snapshot.thumbnails([h.row for found in hits for h in found]))
        return [
            self._result(
                chosen, [self._found(h, next(pictures), view) for h in found], demand, view, done, told
            )
            for chosen, found, demand, done, (_, told) in zip(plans, hits, demands, whole, plain, strict=True)
        ]

    def _plain(self, parts: Parts, side: Literal["query", "gallery"]) -> tuple[Parts, list[str]]:
        """Parts as the model reads them, and what a client should know of that."""
        plain, notes = plain_parts(parts, self.run.sensors, self.run.takes(side))
        text = plain.get(Modality.TEXT)
        read = Modality.TEXT in self.run.takes(side) or self.run.text_is_caption
        if isinstance(text, str) and read and (cut := unread(text)):
            notes.append(f"text: {cut}.")
        return plain, notes

    def _plan(self, query: Subset, wanted: str | None, view: _View) -> ComparedSubsets:
        pairing = self.run.model.pairing
        return plan(query, wanted, pairing, view.coverage, len(view.snapshot))

    def _confidence(self, query: SearchQuery, chosen: ComparedSubsets, view: _View) -> Confidence:
        asked, found = subset_name(chosen.query), chosen.column
        pair = self.calibration.of(asked, found) if self.calibration else None
        names = asked if asked == found else f"{asked}->{found}"
        why = self.run.why_uncalibrated(asked, found)
        return confidence(query, pair, view.coverage[found], self.prior, names, why)

    def _result(
        self,
        chosen: ComparedSubsets,
        found: list[FoundItem],
        demand: Confidence,
        view: _View,
        done: CompletedRow,
        told: Sequence[str],
    ) -> SearchResult:
        hits = demand.judged(found)
        warnings = [
            *told,
            *chosen.warnings,
            *demand.warnings(len(found), len(hits)),
            *done.notes,
            *self.inputs.notes,
        ]
        return SearchResult(
            hits=hits,
            query_subset=subset_name(chosen.query),
            gallery_subset=chosen.column,
            degraded=done.degraded,
            warnings=tuple(warnings),
            gallery_version=view.snapshot.version,
            model_fingerprint=self.run.fingerprint,
            calibrated=demand.pair is not None,
            prior=demand.prior,
            threshold=demand.threshold,
            nothing_confident=demand.demanded and bool(found) and not hits,
        )

    @staticmethod
    def _found(hit: Hit, picture: bytes | None, view: _View) -> FoundItem:
        labels = view.snapshot.item(hit.row)
        names = labels["modalities"]
        return FoundItem(
            id=hit.id,
            score=hit.score,
            pid=labels["pid"],
            camid=labels["camid"],
            timestamp=labels["timestamp"],
            modalities=tuple(names.split("+")) if names else (),
            source=labels["source"],
            thumbnail=picture,
        )
