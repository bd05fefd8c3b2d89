"""Embedding and searching in one process, with a real (tiny, untrained) baseline run."""

from __future__ import annotations

import io
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reid.errors import DataError, GalleryError, UnsupportedPairing, UsageError
from reid.gallery.store import Gallery
from reid.modality import PUBLISHED
from reid.retrieve.answers import NewItem, SearchQuery, SearchResult
from reid.retrieve.retriever import Retriever
from reid.runs.run import Run, load_run
from tests.support.retrieval.filled_galleries import fill, made_calibration, make_run, picture, retriever_of

RGB, NIR, TIR, SKETCH, TEXT = PUBLISHED


@pytest.fixture(scope="session")
def any_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_run(tmp_path_factory.mktemp("any") / "run", "rgb+nir+sketch+text", "mean")


@pytest.fixture(scope="session")
def matched_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_run(tmp_path_factory.mktemp("matched") / "run", "rgb+nir+tir", "concat")


@pytest.fixture
def searchable(any_run: Run, tmp_path: Path) -> Retriever:
    retriever = retriever_of(any_run, tmp_path / "g", ["rgb", "rgb+nir"])
    fill(retriever)
    return retriever


def test_finds_the_same_picture_first_with_all_that_is_known_of_it(searchable: Retriever) -> None:
    result = searchable.search({RGB: picture(3)}, k=4)
    assert len(result.hits) == 4
    first = result.hits[0]
    assert first.id == "item-3"
    assert first.score == pytest.approx(1, abs=1e-5)
    assert (first.pid, first.camid, first.timestamp, first.source) == (1, 1, 3.0, "test")
    assert first.modalities == ("rgb",)
    assert first.thumbnail is not None
    assert max(Image.open(io.BytesIO(first.thumbnail)).size) == 24
    scores = [h.score for h in result.hits]
    assert scores == sorted(scores, reverse=True)
    assert (result.query_subset, result.gallery_subset) == ("rgb", "rgb+nir|rgb")
    assert (first.compared_by, result.ranked_by, result.left_out) == ("rgb", "score", {})
    assert result.gallery_version == searchable.gallery.version
    assert result.model_fingerprint == searchable.run.fingerprint
    assert not result.degraded
    assert not result.calibrated
    assert result.prior is None
    assert (first.likelihood_ratio, first.probability) == (None, None)
    assert result.warnings == ()


def test_a_sentence_and_a_sketch_find_photos(searchable: Retriever) -> None:
    result = searchable.search({TEXT: "a red coat", SKETCH: picture(9)}, k=3)
    assert (result.query_subset, result.gallery_subset) == ("sketch+text", "rgb+nir|rgb")
    assert len(result.hits) == 3


def test_asked_subset_leaves_out_items_that_lack_it_and_says_so(searchable: Retriever) -> None:
    result = searchable.search({RGB: picture(2), NIR: picture(102)}, 10, "nir+rgb")
    assert result.hits[0].id == "item-2"
    assert {h.id for h in result.hits} == {"item-0", "item-2", "item-4", "item-6"}
    assert result.warnings == ("4 of 8 items have no rgb+nir and were not searched.",)


def test_a_text_beyond_the_context_tells_how_much_of_it_was_read(searchable: Retriever) -> None:
    result = searchable.search({TEXT: "a red coat and " * 20 + "a yellow umbrella"}, k=2)
    assert result.warnings == (
        "text: the first 75 of 83 tokens; the words from "
        '"and a red coat and a yellow umbrella" on were not read.',
    )
    assert searchable.search("a red coat", k=2).warnings == ()


def test_deep_pictures_are_read_as_the_runs_training_set_was(any_run: Run, tmp_path: Path) -> None:
    values = np.full((64, 32), 29_000, np.uint16)
    values[16:48, 8:24] = 29_400
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, "TIFF")
    data = stream.getvalue()
    seen = np.where(values == 29_400, 36, 0).astype(np.uint8)  # 400 of 2,800, of 255
    shutil.copytree(any_run.uri, tmp_path / "run")
    file = tmp_path / "run" / "config.json"
    tree = json.loads(file.read_text())
    tree["data"]["range"] = {"nir": {"fixed": [29_000, 31_800]}}
    file.write_text(json.dumps(tree))
    own = load_run(tmp_path / "run")
    assert np.allclose(own.embed({"nir": data}), own.embed({"nir": seen}), atol=1e-5)
    assert np.allclose(own.embed({"nir": data}), own.embed({"nir": Image.fromarray(values)}), atol=1e-5)
    stretched = np.where(values == 29_400, 255, 0).astype(np.uint8)
    assert np.allclose(any_run.embed({"nir": data}), any_run.embed({"nir": stretched}), atol=1e-5)
    assert not np.allclose(own.embed({"nir": data}), any_run.embed({"nir": data}), atol=1e-3)


def test_a_query_that_clips_or_hides_is_answered_with_a_note(searchable: Retriever) -> None:
    spoilt = np.random.default_rng(0).integers(29_000, 29_900, (64, 32)).astype(np.uint16)
    spoilt[0, 0] = 0
    stream = io.BytesIO()
    Image.fromarray(spoilt).save(stream, "PNG")
    (warning,) = searchable.search({NIR: stream.getvalue()}, k=2).warnings
    assert warning.startswith("nir: a few values from 0 to 29899 lie far outside all others")


def test_many_queries_answer_as_one_by_one(searchable: Retriever) -> None:
    queries = [
        SearchQuery({RGB: picture(1)}, 2),
        SearchQuery({TEXT: "a blue bag"}, 5),
        SearchQuery({RGB: picture(4), NIR: picture(104)}, 3, "rgb+nir"),
        SearchQuery({NIR: picture(100)}, 1),
    ]
    together = searchable.search_many(queries)
    for query, result in zip(queries, together, strict=True):
        alone = searchable.search(query.parts, query.k, query.gallery_subset)
        assert [h.id for h in alone.hits] == [h.id for h in result.hits]
        np.testing.assert_allclose([h.score for h in alone.hits], [h.score for h in result.hits], atol=1e-5)
    assert searchable.search_many([]) == []


def test_one_bad_query_does_not_spoil_its_batch(searchable: Retriever) -> None:
    broken = picture(1)[:200]
    results = searchable.search_each(
        [
            SearchQuery({RGB: picture(1)}),
            SearchQuery({TIR: picture(2)}),
            SearchQuery({RGB: broken}),
            SearchQuery({}),
        ]
    )
    assert isinstance(results[0], SearchResult)
    assert isinstance(results[1], UnsupportedPairing)
    assert isinstance(results[2], DataError)
    assert "rgb" in str(results[2])
    assert isinstance(results[3], UnsupportedPairing)


def test_unindexed_subset_names_the_setting(searchable: Retriever) -> None:
    with pytest.raises(UnsupportedPairing, match=r"'nir'.*rgb, rgb\+nir.*index\.subsets"):
        searchable.search({RGB: picture(1)}, gallery_subset="nir")
    with pytest.raises(UsageError, match="Did you mean 'nir'"):
        searchable.search({RGB: picture(1)}, gallery_subset="nirr")


def test_matched_model_compares_common_modalities(matched_run: Run, tmp_path: Path) -> None:
    retriever = retriever_of(matched_run, tmp_path / "g", ["rgb", "rgb+nir"])
    fill(retriever)
    both = retriever.search({RGB: picture(2), NIR: picture(102)}, 1)
    assert (both.query_subset, both.gallery_subset) == ("rgb+nir", "rgb+nir")
    assert both.hits[0].score == pytest.approx(1, abs=1e-5)
    more = retriever.search({RGB: picture(3), TIR: picture(7)}, 1)
    assert (more.query_subset, more.gallery_subset, more.hits[0].id) == ("rgb", "rgb", "item-3")
    assert more.warnings == ("Not used: tir; the comparison is on rgb.",)
    with pytest.raises(UnsupportedPairing, match="Systems that can"):
        retriever.search({TIR: picture(1)})
    assert retriever.answerable() == {
        "rgb": "rgb",
        "rgb+nir": "rgb+nir",
        "rgb+tir": "rgb",
        "rgb+nir+tir": "rgb+nir",
    }


def test_matched_pairing_not_indexed_names_the_setting(matched_run: Run, tmp_path: Path) -> None:
    retriever = retriever_of(matched_run, tmp_path / "g", ["rgb+nir+tir"])
    with pytest.raises(UnsupportedPairing, match=r"compared on 'rgb'.*index\.subsets"):
        retriever.search({RGB: picture(1)})


def test_refuses_a_gallery_of_another_model(any_run: Run, matched_run: Run, tmp_path: Path) -> None:
    gallery = retriever_of(any_run, tmp_path / "g", ["rgb"]).gallery
    with pytest.raises(GalleryError, match=matched_run.fingerprint):
        Retriever(matched_run, gallery)


def test_refresh_picks_up_what_another_process_added(searchable: Retriever) -> None:
    other = Retriever(searchable.run, Gallery.open(searchable.gallery.uri))
    other.put([NewItem("newcomer", {RGB: picture(50)})])
    assert searchable.search({RGB: picture(50)}, 1).hits[0].id != "newcomer"
    assert searchable.refresh()
    assert searchable.search({RGB: picture(50)}, 1).hits[0].id == "newcomer"
    assert not searchable.refresh()


def test_deleted_items_are_not_shown_even_before_a_refresh(searchable: Retriever) -> None:
    stale = Retriever(searchable.run, Gallery.open(searchable.gallery.uri))
    stale.warm()
    assert searchable.delete(["item-3"]) == 1
    hits = stale.search({RGB: picture(3)}, 20).hits
    assert "item-3" not in {h.id for h in hits}
    assert len(hits) == 7


def test_an_id_that_may_be_a_stored_one_is_refused_with_both_spellings(searchable: Retriever) -> None:
    told = r"Item id 'Item-3' and the stored 'item-3' differ in letter case only"
    with pytest.raises(GalleryError, match=told):
        searchable.put([NewItem("Item-3", {RGB: picture(3)})])
    with pytest.raises(GalleryError, match=r"'item -3' is not stored: .* and the stored 'item-3'"):
        searchable.delete(["item -3"])
    searchable.put([NewItem(" item-3", {RGB: picture(3)})])
    assert searchable.size == 8, "spaces at the edges are not part of an id"


def test_a_gallery_indexed_anew_in_place_is_picked_up(searchable: Retriever) -> None:
    uri, version = searchable.gallery.uri, searchable.version
    searchable.search({RGB: picture(1)}, 1)
    shutil.rmtree(uri)
    anew = retriever_of(searchable.run, Path(uri), ["rgb"])
    anew.put([NewItem("only", {RGB: picture(9)})])
    assert anew.version == version, "as many versions: the number alone does not tell"
    assert [h.id for h in searchable.search({RGB: picture(9)}, 5).hits] == ["only"]


def test_item_without_an_indexed_subset_is_refused(searchable: Retriever) -> None:
    with pytest.raises(DataError, match=r"'x' has nir.*index\.subsets"):
        searchable.put([NewItem("x", {NIR: picture(1)})])


def test_empty_gallery_answers_with_a_warning(any_run: Run, tmp_path: Path) -> None:
    result = retriever_of(any_run, tmp_path / "g", ["rgb"]).search({TEXT: "anyone"})
    assert result.hits == ()
    assert result.warnings == ("The gallery is empty.",)


# How sure


@pytest.fixture(scope="session")
def calibrated_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("calibrated") / "run"
    return make_run(folder, "rgb+nir+sketch+text", "mean", calibration=made_calibration())


@pytest.fixture
def sure(calibrated_run: Run, tmp_path: Path) -> Retriever:
    retriever = retriever_of(calibrated_run, tmp_path / "g", ["rgb"])
    fill(retriever)
    return retriever


def test_hits_of_a_calibrated_pairing_have_a_ratio_and_a_probability_under_a_prior(sure: Retriever) -> None:
    result = sure.search({RGB: picture(3)}, 4)
    assert result.calibrated
    assert result.prior == pytest.approx(1 / 9)  # any of eight items, or none
    assert (result.threshold, result.nothing_confident, result.warnings) == (None, False, ())
    for hit in result.hits:
        expected = math.exp(20 * hit.score - 18)
        assert hit.likelihood_ratio == pytest.approx(expected)
        assert hit.probability == pytest.approx(expected / (expected + 8))
    asked = sure.search({RGB: picture(3)}, 1, prior=0.5).hits[0]
    assert asked.probability == pytest.approx(math.exp(2) / (math.exp(2) + 1), abs=1e-4)
    configured = Retriever(sure.run, sure.gallery, prior=0.5).search({RGB: picture(3)}, 1)
    assert (configured.prior, configured.hits[0].probability) == (0.5, asked.probability)


def test_unsure_hits_are_withheld_and_the_answer_may_be_nothing_confident(sure: Retriever) -> None:
    every = sure.search({RGB: picture(3)}, 8)
    chances = [hit.probability for hit in every.hits if hit.probability is not None]
    some = sure.search({RGB: picture(3)}, 8, min_probability=chances[2])
    assert [hit.id for hit in some.hits] == [hit.id for hit in every.hits[:3]]
    assert not some.nothing_confident
    by_rate = sure.search({RGB: picture(3)}, 8, fpr=0.1)
    assert by_rate.threshold == 0.95
    assert [hit.id for hit in by_rate.hits] == [hit.id for hit in every.hits if hit.score >= 0.95]
    assert by_rate.warnings == ("At FPR 0.1 about 0.8 of 8 items pass by chance.",)
    none = sure.search({RGB: picture(3)}, 8, min_probability=0.999)
    assert (none.hits, none.nothing_confident) == ((), True)
    assert none.warnings == ("Nothing confident: none of the 8 best items is as sure as asked.",)


def test_a_pairing_without_calibration_says_so_and_takes_no_demands(sure: Retriever) -> None:
    result = sure.search({NIR: picture(3)}, 2)
    assert not result.calibrated
    assert result.hits[0].probability is None
    with pytest.raises(
        UsageError, match=r"min_probability: nir->rgb is not calibrated \(no validation sample"
    ):
        sure.search({NIR: picture(3)}, 2, min_probability=0.5)
    answers = sure.search_each(
        [SearchQuery({NIR: picture(3)}, fpr=0.1), SearchQuery({RGB: picture(3)}, fpr=0.1)]
    )
    assert isinstance(answers[0], UsageError)
    assert isinstance(answers[1], SearchResult)


@pytest.mark.parametrize(
    ("demand", "message"),
    [
        ({"fpr": 0.01}, r"rgb has no threshold for 0\.01; published: 0\.1.*10/x"),
        ({"fpr": 1.0}, "fpr: 1 is not between 0 and 1"),
        ({"min_probability": 0.0}, "min_probability: 0 is not"),
        ({"prior": 1.0}, "prior: 1 is not"),
        ({"prior": math.nan}, "prior: nan is not"),
    ],
)
def test_demands_out_of_range_are_refused(sure: Retriever, demand: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        sure.search({RGB: picture(3)}, **demand)  # type: ignore[arg-type]


def test_a_run_without_calibration_tells_why_it_takes_no_demands(searchable: Retriever) -> None:
    with pytest.raises(UsageError, match=r"fpr: rgb->rgb\+nir\|rgb is not calibrated \(not measured\)"):
        searchable.search({RGB: picture(1)}, fpr=0.1)


def test_few_validation_identities_are_told(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", "rgb", "mean", calibration=made_calibration(identities=7))
    retriever = retriever_of(run, tmp_path / "g", ["rgb"])
    fill(retriever)
    assert retriever.search({RGB: picture(1)}).warnings == (
        "Probabilities rest on only 7 validation identities.",
    )
