"""Opening a retriever by uris, asking it with any content, and the figure of what it found."""

from __future__ import annotations

import io
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reid.errors import DataError, GalleryError, UsageError, WeightsError
from reid.retrieve.figure import RIGHT, WRONG, show
from reid.retrieve.retriever import Retriever
from reid.runs.contents import Content
from tests.support.world import World


def colours(image: Image.Image) -> set[str]:
    counted = image.convert("RGB").getcolors(image.width * image.height) or []
    return {f"#{r:02x}{g:02x}{b:02x}" for _, (r, g, b) in counted}  # type: ignore[misc]


@pytest.fixture
def here(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to write to, as the working folder, with the world's pictures beside."""
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes((world.folder / name).read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_retriever_opens_by_uris_or_by_what_is_loaded(world: World) -> None:
    run, gallery = world.run, world.retriever.gallery
    for retriever in (
        Retriever.open(run),
        Retriever.open(run, gallery),
        Retriever.open(world.folder / "runs/train/mine", gallery.uri),
        Retriever.open(run.uri, Path(gallery.uri), mode="exact", prior=0.25),
    ):
        assert (retriever.run.fingerprint, retriever.gallery.uri) == (run.fingerprint, gallery.uri)
        assert retriever.size == 8
    assert retriever.prior == 0.25 and retriever.search("a red coat").prior == 0.25
    with pytest.raises(WeightsError, match="no finished run"):
        Retriever.open(world.folder / "runs/nothing")
    with pytest.raises(GalleryError, match=r"no gallery here.*jobs\.index"):
        Retriever.open(run, world.folder / "runs/train")


def test_a_search_takes_what_embed_takes_and_finds_the_same(world: World, here: Path) -> None:
    picture = Image.open("a.jpg")
    ways: list[Content] = [
        "a.jpg",
        Path("a.jpg"),
        Path("a.jpg").read_bytes(),
        picture,
        np.asarray(picture),
        {"rgb": "a.jpg"},
    ]
    found = [world.retriever.search(way, k=8) for way in ways]
    gallery = {item.id: item.score for item in found[0]}
    items = [hit.thumbnail for hit in found[0]]
    assert len(gallery) == 8 and all(items)
    for other in found[1:]:
        assert {item.id: item.score for item in other} == pytest.approx(gallery, abs=1e-6)


def test_scores_are_the_products_of_the_vectors_that_embed_gives(world: World, here: Path) -> None:
    group = next(iter(world.shards.groups("test")))
    (first, *_) = samples = world.shards.read_group(group)
    pictures = [s.images["rgb"].image for s in samples]  # type: ignore[index]
    own = world.run.embed({"rgb": "a.jpg", "text": "a red coat"}, side="query")
    expected = world.run.embed(pictures, side="gallery") @ own
    hits = world.retriever.search({"rgb": "a.jpg", "text": "a red coat"}, k=8)
    assert first.labels.sample_id == "p20-0"
    np.testing.assert_allclose([h.score for h in sorted(hits, key=lambda h: h.id)], expected, atol=1e-6)


def test_a_search_names_what_it_cannot_read(world: World, here: Path) -> None:
    Path("torn.jpg").write_bytes(Path("a.jpg").read_bytes()[:40])
    with pytest.raises(DataError, match=r"torn\.jpg: "):
        world.retriever.search({"rgb": "a.jpg", "nir": "torn.jpg"})
    with pytest.raises(DataError, match=r"c\.jpg: no such file"):
        world.retriever.search("c.jpg")
    with pytest.raises(UsageError, match=r"'imfra'|Unknown modality"):
        world.retriever.search({"imfra": "a.jpg"})


def test_hits_iterate_and_an_empty_answer_is_an_answer(world: World) -> None:
    hits = world.retriever.search("a red coat", k=3)
    assert [hit.id for hit in hits] == [hits[i].id for i in range(3)] and len(hits) == 3
    none = world.retriever.search("a red coat", min_probability=1)
    assert len(none) == 0 and none and none.nothing_confident
    assert "nothing as sure as asked" in repr(none)


def test_the_figure_shows_the_query_and_who_is_right(
    world: World, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hits = world.retriever.search("a.jpg", k=8)
    figure = show(hits, query={"rgb": "a.jpg", "text": "a red coat"}, pid=20, path="found.png")
    assert capsys.readouterr().out == "found.png: rgb against rgb, 8 hits\n"
    assert figure.path == str(here / "found.png")
    written = Image.open("found.png")
    assert written.size == figure.image.size and str(here) in repr(figure)
    assert {RIGHT, WRONG} <= colours(written)
    nobody = show(hits, path="found.png")
    assert not {RIGHT, WRONG} & colours(nobody.image)
    assert nobody.image.size < figure.image.size  # without the query's two pictures
    strangers = show(hits, pid=99, path="found.png")
    assert WRONG in colours(strangers.image) and RIGHT not in colours(strangers.image)


def test_without_a_path_nothing_is_overwritten(world: World, here: Path) -> None:
    hits = world.retriever.search("a red coat", k=1)
    Path("hits.png").write_bytes(b"mine")
    assert [Path(str(show(hits).path)).name for _ in range(2)] == ["hits-2.png", "hits-3.png"]
    assert Path("hits.png").read_bytes() == b"mine"


def test_a_notebook_shows_the_figure_itself(
    world: World, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell = types.SimpleNamespace(kernel=object())
    ipython = types.SimpleNamespace(get_ipython=lambda: shell)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    before = set(here.iterdir())
    figure = show(world.retriever.search("a red coat", k=1))
    assert set(here.iterdir()) == before and figure.path is None
    assert Image.open(io.BytesIO(figure._repr_png_())).size == figure.image.size
    assert show(world.retriever.search("a red coat", k=1), path="asked.png").path == str(here / "asked.png")
    shell.kernel = None  # IPython in a terminal shows no picture
    assert Path(str(show(world.retriever.search("a red coat", k=1)).path)).exists()


def test_an_answer_without_hits_or_pictures_has_a_figure(world: World, here: Path) -> None:
    none = world.retriever.search("a red coat", min_probability=1)
    assert show(none, path="none.png").image.width > 300
    with pytest.raises(UsageError, match=r"give what Retriever\.search found, not a list"):
        show([], path="none.png")  # type: ignore[arg-type]
