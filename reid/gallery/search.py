"""Hot search over a snapshot by FAISS: exact (the default) or approximate, recall measured."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from reid.errors import GalleryError
from reid.gallery.rows import Vectors
from reid.gallery.snapshot import Rows, Snapshot

Mode = Literal["exact", "ann"]

# Candidates beyond k, so that equal scores at the cut are seen and ordered by id.
_MARGIN = 16
# FAISS sums in another order than we do; scores closer than this may come in either order from it.
_SCORE_NOISE = 1e-5
_RECALL_QUERIES = 200
_RECALL_AT = 10
_RECALL_NOISE = 0.3
# FAISS wants at least this many training vectors a cell, and gains nothing from many more.
_VECTORS_PER_CELL = 40
_MOST_VECTORS_PER_CELL = 128
# A gallery that has outgrown the cells it was divided into by this factor is divided anew.
_OUTGROWN = 2


@dataclass(frozen=True)
class Hit:
    """A found item: its id, its cosine similarity in -1..1, and its row in the snapshot."""

    id: str
    score: float
    row: int


@dataclass(frozen=True)
class IndexInfo:
    """One searchable subset. `recall_at_10` is measured against exact search, which has 1."""

    subset: str
    mode: Mode
    items: int
    recall_at_10: float


@dataclass(frozen=True)
class _Index:
    faiss_index: Any
    vectors: Vectors
    rows: Rows
    info: IndexInfo
    cells: Any = None
    """The quantiser of an approximate index: FAISS does not keep it alive, and a later index reuses it."""
    divided_at: int = 0


class Searcher:
    """Nearest neighbours in one snapshot. A subset's index is built at its first use, or by `warm`.

    `mode="ann"` divides the vectors into cells (IVF) and searches as many as bring recall@10 to
    `target_recall`. `previous`, a searcher of an earlier snapshot, lends its cells, which saves most of the
    building.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        mode: Mode = "exact",
        target_recall: float = 0.99,
        previous: Searcher | None = None,
    ) -> None:
        if mode not in ("exact", "ann"):
            raise GalleryError(f"index.search: {mode!r} is neither 'exact' nor 'ann'.")
        self.snapshot = snapshot
        self.mode = mode
        self._target = target_recall
        self._earlier = dict(previous._indexes) if previous else {}
        self._indexes: dict[str, _Index] = {}
        self._lock = threading.Lock()

    @property
    def built(self) -> list[str]:
        """Subsets whose index is there."""
        return list(self._indexes)

    def warm(self, subsets: Sequence[str] | None = None) -> list[IndexInfo]:
        """Build the indexes of the given (default: all) subsets now and say what they are."""
        return [self._index(s).info for s in (self.snapshot.subsets if subsets is None else subsets)]

    def search(self, vectors: Vectors, subset: str, k: int) -> list[list[Hit]]:
        """For each of the (n, dim) unit vectors the k best items that have `subset`, best first.

        Equal scores are ordered by id; fewer than k come back when the gallery has fewer. Raises
        GalleryError for a subset that is not indexed, a wrong shape, a non-finite value, or k < 1.
        """
        queries = np.ascontiguousarray(vectors, dtype=np.float32)
        if queries.ndim != 2 or queries.shape[1] != self.snapshot.dim:
            raise GalleryError(f"Query vectors of shape {queries.shape}, expected (n, {self.snapshot.dim}).")
        if not np.isfinite(queries).all():
            raise GalleryError("Query vectors hold a non-finite value.")
        if k < 1:
            raise GalleryError(f"k is {k}; ask for at least one hit.")
        index = self._index(subset)
        total = index.info.items
        if total == 0 or len(queries) == 0:
            return [[] for _ in queries]
        width = min(total, k + _MARGIN)
        scores, found = index.faiss_index.search(queries, width)
        while width < total and (scores[:, width - 1] >= scores[:, min(k, width) - 1] - _SCORE_NOISE).any():
            width = min(total, width * 2)
            scores, found = index.faiss_index.search(queries, width)
        return [self._ranked(index, query, places, k) for query, places in zip(queries, found, strict=True)]

    def _ranked(self, index: _Index, query: Vectors, places: Rows, k: int) -> list[Hit]:
        places = places[places >= 0]
        # The same sum for every row, unlike a blocked matrix product: equal vectors score equally.
        scores = np.einsum("nd,d->n", index.vectors[places], query)
        rows = index.rows[places]
        best = np.lexsort((rows, -scores))[:k]
        ids = self.snapshot.labels["id"]
        return [Hit(ids[int(rows[i])].as_py(), float(scores[i]), int(rows[i])) for i in best]

    def _index(self, subset: str) -> _Index:
        with self._lock:
            if subset not in self._indexes:
                self._indexes[subset] = self._build(subset)
            return self._indexes[subset]

    def _build(self, subset: str) -> _Index:
        import faiss

        vectors, rows = self.snapshot.vectors(subset)
        earlier = self._earlier.pop(subset, None)
        exact = faiss.IndexFlatIP(self.snapshot.dim)
        exact.add(vectors)
        if self.mode == "exact" or len(vectors) == 0:
            return _Index(exact, vectors, rows, IndexInfo(subset, "exact", len(vectors), 1.0))
        divided_at = len(vectors)
        if earlier and earlier.cells is not None and divided_at <= _OUTGROWN * earlier.divided_at:
            cells, divided_at = earlier.cells, earlier.divided_at
        else:
            cells = self._divide(vectors)
        index = faiss.IndexIVFFlat(cells, self.snapshot.dim, cells.ntotal, faiss.METRIC_INNER_PRODUCT)
        index.add(vectors)
        info = IndexInfo(subset, "ann", len(vectors), self._tune(index, exact, vectors))
        return _Index(index, vectors, rows, info, cells, divided_at)

    def _divide(self, vectors: Vectors) -> Any:
        """An inner-product index of the centres of k-means cells."""
        import faiss

        count, dim = vectors.shape
        number = max(1, min(int(4 * count**0.5), count // _VECTORS_PER_CELL))
        kmeans = faiss.Kmeans(
            dim, number, niter=10, spherical=True, seed=0, max_points_per_centroid=_MOST_VECTORS_PER_CELL
        )
        kmeans.train(vectors)
        cells = faiss.IndexFlatIP(dim)
        centres = kmeans.centroids
        assert centres is not None, "trained"
        cells.add(centres)
        return cells

    def _tune(self, index: Any, exact: Any, vectors: Vectors) -> float:
        """Search ever more cells until recall@10 on perturbed gallery vectors meets the target."""
        rng = np.random.default_rng(0)
        chosen = rng.choice(len(vectors), size=min(_RECALL_QUERIES, len(vectors)), replace=False)
        noise = rng.standard_normal((len(chosen), vectors.shape[1])) * _RECALL_NOISE / vectors.shape[1] ** 0.5
        queries = vectors[chosen] + noise.astype(np.float32)
        queries /= np.linalg.norm(queries, axis=1, keepdims=True)
        depth = min(_RECALL_AT, len(vectors))
        _, truth = exact.search(queries, depth)
        index.nprobe = 1
        while True:
            _, found = index.search(queries, depth)
            hits = [len(set(t) & set(f)) for t, f in zip(truth.tolist(), found.tolist(), strict=True)]
            recall = float(np.mean(hits)) / depth
            if recall >= self._target or index.nprobe >= index.nlist:
                return recall
            index.nprobe = min(index.nlist, 2 * index.nprobe)
