"""Embed and search in one process, without Ray: the core that the endpoint wraps."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from reid.comparison.mixed import worth_storing
from reid.config.addresses import gallery_uri
from reid.data.batches.batch_row import BatchRow, Parts
from reid.data.batches.tokens import unread
from reid.data.labels import both, difference
from reid.errors import AnyReIDError, DataError, GalleryError
from reid.gallery.rows import Item, Vectors
from reid.gallery.search import Hit, IndexInfo, Mode
from reid.gallery.snapshot import VersionGone
from reid.gallery.store import Gallery
from reid.gallery.subset_choice import ComparedGallery
from reid.modality import Modality, Subset, canonical, parse_subset, subset_name
from reid.retrieve.answers import FoundItem, NewItem, SearchQuery, SearchResult
from reid.retrieve.auxiliary_inputs import CompletedRow, QueryInputs
from reid.retrieve.confidence import Confidence
from reid.retrieve.gallery_view import GalleryView
from reid.runs.contents import Content, check_alike, content_views, encoded_parts, plain_parts

if TYPE_CHECKING:
    from reid.runs.run import Run

_PURGE_RETRIES = 3

log = logging.getLogger(__name__)


class Retriever:
    """Answers queries to one gallery with one run. Safe to use from several threads.

    Each item is compared by its own subset, as the model's comparison says. Raises GalleryError if the
    gallery's vectors are of another model, or compared by other terms. `mode` defaults to the run's
    `index.search`, `prior` to 1 / (items + 1). `Retriever.open` takes uris, too.
    """

    def __init__(
        self, run: Run, gallery: Gallery, mode: Mode | None = None, prior: float | None = None
    ) -> None:
        gallery.check_model(run.fingerprint)
        gallery.check_terms(run.model.comparison_rule)
        self.run = run
        self.calibration = run.calibration
        self.prior = prior
        self.gallery = gallery
        self.mode: Mode = mode or run.config.index.search
        self._refreshing = threading.Lock()
        self._embedding = threading.Lock()
        self._view = GalleryView(run, gallery, self.mode)
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
            gallery.check_terms(self.run.model.comparison_rule)
            try:
                fresh = GalleryView(self.run, gallery, self.mode, self._view)
                fresh.searcher.warm(fresh.groups(self._view))
            except VersionGone:
                if attempt == _PURGE_RETRIES - 1:
                    raise
                continue
            self.gallery, self._view = gallery, fresh
            return

    def warm(self) -> list[IndexInfo]:
        """Build every index now, so that the first query does not wait; says what they are."""
        return self._view.searcher.warm(self._view.groups())

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

        Each item is compared by the richest of its stored subsets that the query can be compared with, or of
        those that `gallery_subset` names ("rgb", "rgb|nir"). Items whose scores have no common order are
        ranked by likelihood ratios, or some are left out, and the result says so. `min_probability` and `fpr`
        withhold hits that are not so sure. Raises UnsupportedPairing when the model or the gallery cannot
        answer, UsageError for an unknown modality or subset or demands on a pairing that is not calibrated,
        DataError naming the file or modality that is missing or cannot be decoded.

        >>> hits = reid.Retriever.open("runs/train/mine").search({"rgb": "a.jpg", "text": "a red coat"}, k=3)
        >>> len(hits), hits.query_subset, hits.gallery_subset
        (3, 'rgb+text', 'rgb')
        """
        parts, *more = (encoded_parts(view, self.run.sensors) for view in content_views(content))
        query = SearchQuery(parts, k, gallery_subset, min_probability, fpr, prior, more=tuple(more))
        return self.search_many([query])[0]

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
        return {subset_name(subset): of.gallery for subset, of in self._view.answerable().items()}

    def make_items(self, entries: Sequence[NewItem]) -> list[Item]:
        """Embed captures for the gallery: a vector of each indexed subset that a capture has and needs.

        Where items are embedded as they are, whatever is asked, it needs none that another one contains.

        Raises DataError naming the entry when it has none of them or a picture cannot be decoded.
        """
        from reid.data.images import thumbnail

        plain = [self._plain(entry.parts, "gallery") for entry in entries]
        entries = [replace(entry, parts=parts) for entry, (parts, _) in zip(entries, plain, strict=True)]
        slots: list[tuple[int, Subset]] = []
        for place, entry in enumerate(entries):
            has = set(canonical(entry.parts))
            covered = [s for s in map(parse_subset, self.gallery.subsets) if set(s) <= has]
            if not covered:
                raise DataError(
                    f"Item {entry.id!r} has {subset_name(has) or 'nothing'}, and the gallery "
                    "indexes "
                    f"{', '.join(self.gallery.subsets)}: send the modalities of one of these "
                    "(index.subsets)."
                )
            slots += [(place, s) for s in worth_storing(self.run.model.comparison_rule, covered)]
        for entry, (_, notes) in zip(entries, plain, strict=True):
            for note in notes:
                log.warning("item %r: %s", entry.id, note)
        whole = [done.row for done in self.inputs.rows([(e.parts, e.mask) for e in entries])]
        rows = [replace(whole[p], parts={m: whole[p].parts[m] for m in s}) for p, s in slots]
        with self._embedding:
            vectors = self.run.embed_rows(rows, "gallery")
        by_entry: list[dict[str, object]] = [{} for _ in entries]
        for (place, subset), vector in zip(slots, vectors, strict=True):
            by_entry[place][subset_name(subset)] = vector
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

    def _search_many(self, queries: Sequence[SearchQuery], view: GalleryView) -> list[SearchResult]:
        plain = [[self._plain(parts, "query") for parts in (q.parts, *q.more)] for q in queries]
        for views in plain:
            check_alike([parts for parts, _ in views])
        queries = [replace(q, parts=views[0][0]) for q, views in zip(queries, plain, strict=True)]
        plans = [view.plan(self.inputs.asked(q.parts), q.gallery_subset) for q in queries]
        if not plans:
            return []
        demands = [view.confidence(q, p, self.prior) for q, p in zip(queries, plans, strict=True)]
        told = [
            _notes(of, p.by_ratio or d.calibrated) for of, p, d in zip(plain, plans, demands, strict=True)
        ]
        contents = [(parts, q.mask) for q, views in zip(queries, plain, strict=True) for parts, _ in views]
        made = iter(self.inputs.rows(contents))
        whole = [[next(made) for _ in views] for views in plain]
        rows = [[done.row for done in views] for views in whole]
        hits = view.hits(rows, plans, [q.k for q in queries], self._embed)
        pictures = iter(view.snapshot.thumbnails([h.row for found in hits for h in found]))
        return [
            self._result(
                chosen,
                [self._found(h, next(pictures), view) for h in found],
                demand,
                view,
                _together(done),
                notes,
            )
            for chosen, found, demand, done, notes in zip(plans, hits, demands, whole, told, strict=True)
        ]

    def _embed(self, rows: Sequence[BatchRow]) -> Vectors:
        with self._embedding:
            return self.run.embed_rows(rows, "query")

    def _plain(self, parts: Parts, side: Literal["query", "gallery"]) -> tuple[Parts, list[str]]:
        """Parts as the model reads them, and what a client should know of that."""
        plain, notes = plain_parts(parts, self.run.sensors, self.run.takes(side))
        text = plain.get(Modality.TEXT)
        read = Modality.TEXT in self.run.takes(side) or self.run.text_is_caption
        if isinstance(text, str) and read and (cut := unread(text)):
            notes.append(f"text: {cut}.")
        return plain, notes

    def _result(
        self,
        chosen: ComparedGallery,
        found: list[FoundItem],
        demand: Confidence,
        view: GalleryView,
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
            query_subset=chosen.query,
            gallery_subset=chosen.gallery,
            degraded=done.degraded,
            warnings=tuple(warnings),
            gallery_version=view.snapshot.version,
            model_fingerprint=self.run.fingerprint,
            calibrated=demand.calibrated,
            prior=demand.prior,
            threshold=demand.threshold,
            nothing_confident=demand.demanded and bool(found) and not hits,
            ranked_by="likelihood_ratio" if chosen.by_ratio else "score",
            left_out=dict(chosen.left_out),
        )

    @staticmethod
    def _found(hit: Hit, picture: bytes | None, view: GalleryView) -> FoundItem:
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
            compared_by=hit.subset,
        )


def _notes(views: Sequence[tuple[Parts, list[str]]], calibrated: bool) -> list[str]:
    """What a client should know of a query's parts; each note once."""
    found = list(dict.fromkeys(note for _, notes in views for note in notes))
    if len(views) > 1 and calibrated:
        found.append(
            "Several samples of a modality: their mean is more alike to what is right than single ones, on "
            "which likelihood ratios were fitted; take these for a lower bound of how sure a hit is."
        )
    return found


def _together(views: Sequence[CompletedRow]) -> CompletedRow:
    """What became of all views of a query, as one."""
    notes = dict.fromkeys(note for view in views for note in view.notes)
    return replace(views[0], degraded=any(view.degraded for view in views), notes=tuple(notes))
