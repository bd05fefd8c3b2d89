"""Hot search over a snapshot by FAISS: exact (the default) or approximate, recall measured."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from reid.comparison.mixed import ComparedGroup, Stored
from reid.comparison.one_vector import StoredForm
from reid.errors import GalleryError
from reid.gallery.rows import Vectors
from reid.gallery.snapshot import Rows, Snapshot
from reid.modality import parse_subset, subset_name

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
# Masks of groups that are remembered: a bit an item each.
_MASKS = 256
# A gallery that has outgrown the cells it was divided into by this factor is divided anew.
_OUTGROWN = 2


@dataclass(frozen=True)
class Hit:
    """A found item: its id, its score, its row in the snapshot, and the subset that it was compared by."""

    id: str
    score: float
    row: int
    subset: str = ""


@dataclass(frozen=True)
class IndexInfo:
    """One index: the subset of its vectors, or several joined by "|", one of each item. `recall_at_10` is
    measured against exact search, which has 1."""

    subset: str
    mode: Mode
    items: int
    recall_at_10: float


@dataclass(frozen=True)
class _Index:
    faiss_index: Any
    vectors: Vectors
    rows: Rows
    subset: npt.NDArray[np.int8]
    """(n,) place in `stored` of each vector's subset."""
    stored: Stored
    info: IndexInfo
    cells: Any = None
    """The quantiser of an approximate index: FAISS does not keep it alive, and a later index reuses it."""
    divided_at: int = 0


class Searcher:
    """Nearest neighbours in one snapshot. An index is built at its first use, or by `warm`.

    An index has one vector an item, in the form in which an inner product with a query is the score: of the
    first of some subsets that is stored of the item. A group of items is searched in it by a mask.

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
        self._masks: dict[tuple[str, str, frozenset[Stored]], tuple[Any, int]] = {}
        self._lock = threading.Lock()

    @property
    def built(self) -> list[str]:
        """Subsets whose index is there."""
        return [index.info.subset for index in self._indexes.values()]

    def warm(self, groups: Sequence[str | ComparedGroup] | None = None) -> list[IndexInfo]:
        """Build the indexes of groups, or of subsets (default: of each), now, and say what they are."""
        wanted = self.snapshot.subsets if groups is None else groups
        return list(dict.fromkeys(self._index(self._group(one)).info for one in wanted))

    def search(self, vectors: Vectors, within: str | ComparedGroup, k: int) -> list[list[Hit]]:
        """For each query the k best items, best first.

        Args:
            vectors: (n, dim) unit vectors of queries, as embedded.
            within: a group of the snapshot's items with its comparison; or a subset: all items that have a
                vector of it, by cosine.
            k: number of hits.

        Equal scores are ordered by id; fewer than k come back when there are fewer items. Raises GalleryError
        for a subset that is not indexed, a wrong shape, a non-finite value, or k < 1.
        """
        group = self._group(within)
        queries = np.ascontiguousarray(vectors, dtype=np.float32)
        if queries.ndim != 2 or queries.shape[1] != self.snapshot.dim:
            raise GalleryError(f"Query vectors of shape {queries.shape}, expected (n, {self.snapshot.dim}).")
        if not np.isfinite(queries).all():
            raise GalleryError("Query vectors hold a non-finite value.")
        if k < 1:
            raise GalleryError(f"k is {k}; ask for at least one hit.")
        queries = np.ascontiguousarray(group.form.asked(queries, group.query))
        index = self._index(group)
        among, total = self._among(index, group)
        if total == 0 or len(queries) == 0:
            return [[] for _ in queries]
        width = min(total, k + _MARGIN)
        scores, found = index.faiss_index.search(queries, width, params=among)
        while width < total and (scores[:, width - 1] >= scores[:, min(k, width) - 1] - _SCORE_NOISE).any():
            width = min(total, width * 2)
            scores, found = index.faiss_index.search(queries, width, params=among)
        return [self._ranked(index, query, places, k) for query, places in zip(queries, found, strict=True)]

    def _ranked(self, index: _Index, query: Vectors, places: Rows, k: int) -> list[Hit]:
        places = places[places >= 0]  # FAISS fills up with -1
        # The same sum for every row, unlike a blocked matrix product: equal vectors score equally.
        scores = np.einsum("nd,d->n", index.vectors[places], query)
        rows = index.rows[places]
        best = np.lexsort((rows, -scores))[:k]
        ids = self.snapshot.labels["id"]
        names = [subset_name(s) for s in index.stored]
        of = index.subset[places]
        return [
            Hit(ids[int(rows[i])].as_py(), float(scores[i]), int(rows[i]), names[int(of[i])]) for i in best
        ]

    def _group(self, within: str | ComparedGroup) -> ComparedGroup:
        """A group as given, or all items that have a vector of a subset, by cosine."""
        if isinstance(within, ComparedGroup):
            return within
        if within not in self.snapshot.subsets:
            raise self.snapshot.not_indexed(within)
        subset = parse_subset(within)
        kinds = frozenset(kind for kind in self.snapshot.kinds if subset in kind)
        return ComparedGroup(subset, (subset,), kinds, within, StoredForm("vector", plain=True))

    def _index(self, group: ComparedGroup) -> _Index:
        key = f"{group.gallery_name}#{group.form.key}"
        with self._lock:
            if key not in self._indexes:
                self._indexes[key] = self._build(key, group)
            return self._indexes[key]

    def _among(self, index: _Index, group: ComparedGroup) -> tuple[Any, int]:
        """What keeps a search of an index within a group, if anything has to; the size of the group."""
        key = group.gallery_name, group.form.key, group.kinds
        found = self._masks.get(key)
        if found is None:
            if len(self._masks) >= _MASKS:
                self._masks.clear()
            self._masks[key] = found = self._mask(index, group)
        return found

    def _mask(self, index: _Index, group: ComparedGroup) -> tuple[Any, int]:
        import faiss as library

        faiss: Any = library  # its stubs do not know these constructors
        inside = self.snapshot.of_kinds(group.kinds)[index.rows]
        total = int(inside.sum())
        if total == len(inside):
            return None, total
        mask = faiss.IDSelectorBitmap(np.packbits(inside, bitorder="little"))
        if index.info.mode == "exact":
            return faiss.SearchParameters(sel=mask), total
        return faiss.SearchParametersIVF(sel=mask, nprobe=index.faiss_index.nprobe), total

    def _stored(self, group: ComparedGroup) -> tuple[Vectors, Rows, npt.NDArray[np.int8]]:
        """(n, d) what is stored of items, by ascending row; their rows; the place of their subset."""
        taken = np.zeros(len(self.snapshot), bool)
        parts = []
        for place, subset in enumerate(group.stored):
            vectors, rows = self.snapshot.vectors(subset_name(subset))
            new = ~taken[rows]
            if not new.all():
                vectors, rows = vectors[new], rows[new]
            taken[rows] = True
            parts.append((group.form.stored(vectors, subset), rows, np.full(len(rows), place, np.int8)))
        if len(parts) == 1:
            return parts[0]
        made, rows, subset_of = (np.concatenate(column) for column in zip(*parts, strict=True))
        order = np.argsort(rows)
        return np.ascontiguousarray(made[order]), rows[order], subset_of[order]

    def _build(self, key: str, group: ComparedGroup) -> _Index:
        import faiss

        vectors, rows, subset_of = self._stored(group)
        count, width = vectors.shape
        earlier = self._earlier.pop(key, None)
        exact = faiss.IndexFlatIP(width)
        exact.add(vectors)
        name = group.gallery_name
        if self.mode == "exact" or count == 0:
            info = IndexInfo(name, "exact", count, 1.0)
            return _Index(exact, vectors, rows, subset_of, group.stored, info)
        divided_at = len(vectors)
        if earlier and earlier.cells is not None and divided_at <= _OUTGROWN * earlier.divided_at:
            cells, divided_at = earlier.cells, earlier.divided_at
        else:
            cells = self._divide(vectors)
        index = faiss.IndexIVFFlat(cells, width, cells.ntotal, faiss.METRIC_INNER_PRODUCT)
        index.add(vectors)
        info = IndexInfo(name, "ann", count, self._tune(index, exact, vectors))
        return _Index(index, vectors, rows, subset_of, group.stored, info, cells, divided_at)

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
