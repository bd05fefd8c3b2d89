"""The durable gallery: what survives, what is refused, and what is really gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reid.errors import GalleryError
from reid.gallery.rows import Item
from reid.gallery.snapshot import VersionGone
from reid.gallery.store import Gallery
from reid.modality import parse_subset
from tests.support.places import ROOT
from tests.support.retrieval.gallery_items import DIM, MODEL, item, unit


@pytest.fixture
def gallery(tmp_path: Path) -> Gallery:
    return Gallery.create(str(tmp_path / "g"), DIM, ["rgb", "nir+rgb"], MODEL, "runs/a")


def files_with(gallery: Gallery, text: str) -> list[Path]:
    return [p for p in Path(gallery.uri).rglob("*") if p.is_file() and text.encode() in p.read_bytes()]


def test_reopened_gallery_has_rows_and_metadata(gallery: Gallery) -> None:
    gallery.add([item(1, camid=3, timestamp=1.5), item(2)])
    again = Gallery.open(gallery.uri)
    assert again.metadata == gallery.metadata
    assert again.subsets == ("rgb", "rgb+nir") and again.dim == DIM
    shot = again.snapshot()
    assert shot.item(0) == {
        "id": "item-001",
        "pid": 1,
        "camid": 3,
        "timestamp": 1.5,
        "modalities": "rgb",
        "source": "shards/0.parquet",
    }
    assert shot.item(1)["camid"] is None
    assert shot.thumbnails([1, 0, 1]) == [b"jpeg--002-end", b"jpeg--001-end", b"jpeg--002-end"]
    np.testing.assert_array_equal(shot.vectors("rgb")[0][0], unit(1))


def test_add_replaces_the_row_of_the_same_id(gallery: Gallery) -> None:
    first = gallery.add([item(1), item(2)])
    second = gallery.add([item(2, "new"), item(3)])
    assert second > first and gallery.version == second
    shot = gallery.snapshot()
    assert shot.ids == ["item-001", "item-002", "item-003"]
    assert shot.thumbnails([1]) == [b"jpeg-new-002-end"]


def test_ids_have_one_spelling(gallery: Gallery) -> None:
    gallery.add([replace(item(1), id="e\u0301/1 "), item(2)])
    gallery.add([replace(item(1, "new"), id="\u00e9/1")])
    assert gallery.snapshot().ids == ["item-002", "é/1"]
    assert gallery.snapshot().near("É/1") == "é/1"
    assert gallery.delete(["e\u0301/1"]) == 1
    for nothing in ("", "nan", "None", " - "):
        with pytest.raises(GalleryError, match=r"Item id .* stands for no name"):
            gallery.add([replace(item(1), id=nothing)])


def test_items_lacking_a_subset_are_not_in_its_column(gallery: Gallery) -> None:
    gallery.add([item(3, subsets=("rgb", "rgb+nir")), item(1), item(2, subsets=("rgb+nir",))])
    shot = gallery.snapshot()
    vectors, rows = shot.vectors("rgb+nir")
    assert [shot.ids[r] for r in rows] == ["item-002", "item-003"]
    np.testing.assert_array_equal(vectors, np.stack([unit(2), unit(3)]))
    rgb, both = parse_subset("rgb"), parse_subset("rgb+nir")
    assert shot.kinds == {(rgb,): 1, (both,): 1, (rgb, both): 1}
    with pytest.raises(GalleryError, match=r"index\.subsets"):
        shot.vectors("tir")


def test_survives_a_kill_between_adds(gallery: Gallery) -> None:
    gallery.add([item(0)])
    script = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from reid.gallery.store import Gallery\n"
        "from tests.support.retrieval.gallery_items import item\n"
        "g = Gallery.open(sys.argv[1])\n"
        "for n in range(1, 10_000):\n"
        "    g.add([item(2 * n), item(2 * n + 1)]); print(n, flush=True)\n"
    )
    root = str(ROOT)
    child = subprocess.Popen(
        [sys.executable, "-c", script, gallery.uri, root],
        stdout=subprocess.PIPE,
        text=True,
        cwd=root,
    )
    assert child.stdout is not None
    committed = [int(child.stdout.readline()) for _ in range(3)][-1]
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    again = Gallery.open(gallery.uri)
    count = again.count()
    assert count >= 1 + 2 * committed and count % 2 == 1, "each add is there as a whole or not at all"
    again.add([item(990)])
    assert again.count() == count + 1
    again.purge(unfinished=True)
    assert len(again.snapshot()) == count + 1


def test_killed_create_can_be_repeated(gallery: Gallery) -> None:
    (Path(gallery.uri) / "gallery.json").unlink()
    with pytest.raises(GalleryError, match="no gallery"):
        Gallery.open(gallery.uri)
    again = Gallery.create(gallery.uri, DIM, ["rgb"], MODEL, "runs/a")
    assert again.count() == 0 and again.add([item(1)]) == again.version


def test_refuses_another_models_vectors(gallery: Gallery) -> None:
    stranger = Item("x", {"rgb": unit(1)}, model_fingerprint="model-b")
    with pytest.raises(GalleryError, match=r"model-a.*model-b"):
        gallery.add([item(1), stranger])
    assert gallery.count() == 0
    with pytest.raises(GalleryError, match=r"index\.gallery"):
        Gallery.ensure(gallery.uri, DIM, ["rgb"], "model-b", "runs/b")
    assert Gallery.ensure(gallery.uri, DIM, ["rgb"], MODEL, "runs/a").uri == gallery.uri
    with pytest.raises(GalleryError, match="already there"):
        Gallery.create(gallery.uri, DIM, ["rgb"], MODEL, "runs/a")


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        ({"rgb": np.ones(DIM, np.float32)}, "norm"),
        ({"rgb": np.full(DIM, np.nan, np.float32)}, "norm"),
        ({"rgb": np.ones(DIM + 1, np.float32)}, "shape"),
        ({"tir": unit(1)}, "index.subsets"),
        ({}, "no vector"),
    ],
)
def test_malformed_vectors_are_refused_whole(
    gallery: Gallery, vectors: dict[str, np.ndarray], message: str
) -> None:
    with pytest.raises(GalleryError, match=message):
        gallery.add([item(1), Item("bad", vectors, MODEL)])
    assert gallery.count() == 0


def test_reader_keeps_a_consistent_version_during_an_update(gallery: Gallery) -> None:
    gallery.add([item(n, "old") for n in range(4)])
    reader = gallery.snapshot()
    gallery.add([item(n, "new") for n in range(2, 6)])
    assert len(reader) == 4 and len(reader.vectors("rgb")[0]) == 4
    assert reader.thumbnails([3]) == [b"jpeg-old-003-end"]
    newer = gallery.snapshot()
    assert len(newer) == 6 and newer.thumbnails([3]) == [b"jpeg-new-003-end"]
    assert gallery.snapshot(reader.version).version == reader.version


def test_delete_really_removes_bytes(gallery: Gallery) -> None:
    gallery.add([item(n, "face") for n in range(6)])
    gallery.add([item(2, "retake"), item(7, "face")])
    stale = gallery.snapshot()
    assert files_with(gallery, "face-002") and files_with(gallery, "retake-002")
    assert gallery.delete(["item-002", "item-002", "it's not there"]) == 1
    for trace in ("face-002", "retake-002", "item-002"):
        assert files_with(gallery, trace) == []
    vector_bytes = unit(2).tobytes()
    assert not any(vector_bytes in p.read_bytes() for p in Path(gallery.uri).rglob("*") if p.is_file())
    assert gallery.snapshot().ids == [f"item-{n:03d}" for n in (0, 1, 3, 4, 5, 7)]
    with pytest.raises(VersionGone):
        stale.thumbnails([0])
    assert gallery.delete(["item-002"]) == 0


def test_delete_from_a_large_fragment_removes_bytes(gallery: Gallery) -> None:
    gallery.add([item(n, "big") for n in range(9000)])
    gallery.purge()
    gallery.delete(["item-100"])
    assert files_with(gallery, "big-100-end") == [] and gallery.count() == 8999


def test_many_small_adds_are_compacted(gallery: Gallery) -> None:
    for n in range(40):
        gallery.add([item(n)])
    data = list((Path(gallery.uri) / "rows.lance" / "data").iterdir())
    assert gallery.count() == 40 and gallery.snapshot().version == gallery.version
    assert len(gallery._dataset().get_fragments()) < 33 <= len(data)


def test_concurrent_writers_lose_nothing(gallery: Gallery) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def write(number: int) -> None:
        Gallery.open(gallery.uri).add([item(number), item(99)])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(12)))
    assert gallery.snapshot().ids == sorted([*(f"item-{n:03d}" for n in range(12)), "item-099"])
