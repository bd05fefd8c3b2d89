"""Search over a snapshot equals brute force, and says how approximate it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from reid.errors import GalleryError
from reid.gallery.rows import Item
from reid.gallery.search import Searcher
from reid.gallery.store import Gallery

DIM = 24


def units(count: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((count, DIM)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def filled(path: Path, vectors: np.ndarray, rgb_only_every: int = 3) -> Gallery:
    gallery = Gallery.create(str(path), DIM, ["rgb", "rgb+nir"], "m", "runs/m")
    gallery.add(
        Item(
            f"i{n:05d}",
            {"rgb": v} if n % rgb_only_every == 0 else {"rgb": v, "rgb+nir": v},
            "m",
        )
        for n, v in enumerate(vectors)
    )
    return gallery


def test_exact_equals_brute_force_numpy(tmp_path: Path) -> None:
    vectors, queries = units(1000, 0), units(37, 1)
    searcher = Searcher(filled(tmp_path, vectors).snapshot())
    has_both = np.flatnonzero(np.arange(1000) % 3)
    for subset, rows in (("rgb", np.arange(1000)), ("rgb+nir", has_both)):
        similarity = queries @ vectors[rows].T
        order = np.argsort(-similarity, axis=1, kind="stable")[:, :15]
        for q, hits in enumerate(searcher.search(queries, subset, 15)):
            assert [h.id for h in hits] == [f"i{rows[j]:05d}" for j in order[q]]
            np.testing.assert_allclose([h.score for h in hits], similarity[q, order[q]], atol=1e-6)


def test_equal_scores_are_ordered_by_id_even_at_the_cut(tmp_path: Path) -> None:
    base = units(50, 2)
    vectors = np.concatenate([np.repeat(base[:1], 150, axis=0), base])
    searcher = Searcher(filled(tmp_path, vectors).snapshot())
    for k in (1, 5, 120):
        hits = searcher.search(base[:1], "rgb", k)[0]
        assert [h.id for h in hits] == [f"i{n:05d}" for n in range(k)]


def test_asking_for_more_than_there_is_gives_all(tmp_path: Path) -> None:
    vectors = units(7, 3)
    searcher = Searcher(filled(tmp_path, vectors).snapshot())
    assert [len(h) for h in searcher.search(units(2, 4), "rgb", 100)] == [7, 7]
    empty = Searcher(Gallery.create(str(tmp_path / "e"), DIM, ["rgb"], "m", "r").snapshot())
    assert empty.search(units(2, 4), "rgb", 3) == [[], []]


def test_wrong_requests_are_refused(tmp_path: Path) -> None:
    searcher = Searcher(filled(tmp_path, units(5, 5)).snapshot())
    with pytest.raises(GalleryError, match=r"index\.subsets"):
        searcher.search(units(1, 1), "tir", 1)
    with pytest.raises(GalleryError, match="shape"):
        searcher.search(units(1, 1)[:, :5], "rgb", 1)
    with pytest.raises(GalleryError, match="non-finite"):
        searcher.search(np.full((1, DIM), np.nan, np.float32), "rgb", 1)
    with pytest.raises(GalleryError, match="k is 0"):
        searcher.search(units(1, 1), "rgb", 0)


def test_ann_reports_its_measured_recall_and_meets_it(tmp_path: Path) -> None:
    vectors, queries = units(3000, 6), units(50, 7)
    snapshot = filled(tmp_path, vectors).snapshot()
    ann, exact = Searcher(snapshot, "ann"), Searcher(snapshot)
    info = ann.warm(["rgb"])[0]
    assert info.mode == "ann" and info.items == 3000 and info.recall_at_10 >= 0.99
    pairs = zip(exact.search(queries, "rgb", 10), ann.search(queries, "rgb", 10), strict=True)
    overlap = np.mean([len({h.id for h in a} & {h.id for h in b}) / 10 for a, b in pairs])
    assert overlap > 0.9
    assert exact.warm(["rgb"])[0].recall_at_10 == 1.0


def test_ann_of_a_later_version_reuses_the_cells_and_finds_what_is_new(tmp_path: Path) -> None:
    centres = units(30, 8)
    vectors = np.repeat(centres, 60, axis=0) + 0.02 * units(1800, 9)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    gallery = filled(tmp_path, vectors)
    before = Searcher(gallery.snapshot(), "ann")
    before.warm(["rgb"])
    newcomer = units(1, 10)
    gallery.add([Item("newcomer", {"rgb": newcomer[0]}, "m")])
    after = Searcher(gallery.snapshot(), "ann", previous=before)
    assert after.search(newcomer, "rgb", 1)[0][0].id == "newcomer"
    index = after._indexes["rgb#"]
    assert index.cells is before._indexes["rgb#"].cells
    assert index.faiss_index.nprobe < index.faiss_index.nlist
    assert index.info.recall_at_10 >= 0.99
