"""A search with several samples of a modality is one with their mean, as `Run.embed` makes it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from reid.errors import UsageError
from reid.modality import Modality
from reid.retrieve.answers import SearchQuery
from reid.retrieve.retriever import Retriever
from reid.runs.run import Run
from tests.support.retrieval.filled_galleries import fill, make_run, picture, retriever_of

RGB, NIR, TEXT = Modality.RGB, Modality.NIR, Modality.TEXT


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_run(tmp_path_factory.mktemp("several") / "run", "rgb+nir+sketch+text", "mean")


@pytest.fixture
def searchable(run: Run, tmp_path: Path) -> Retriever:
    retriever = retriever_of(run, tmp_path / "g", ["rgb"])
    fill(retriever)
    return retriever


def test_hits_have_the_similarity_of_the_mean_of_all_combinations(searchable: Retriever, run: Run) -> None:
    asked = {"rgb": [picture(1), picture(2)], "nir": [picture(3), picture(4)], "text": "a red coat"}
    vector = run.embed(asked)
    found = searchable.search(asked, k=6)
    assert found.query_subset == "rgb+nir+text"
    for hit in found.hits:
        number = int(hit.id.rpartition("-")[2])
        item = run.embed({"rgb": picture(number)}, side="gallery")
        assert hit.score == pytest.approx(float(vector @ item), abs=1e-5)
        compared = run.compare(asked, {"rgb": picture(number)})
        assert compared.similarity == pytest.approx(hit.score, abs=1e-5)
    turned = {"text": "a red coat", "nir": asked["nir"][::-1], "rgb": asked["rgb"][::-1]}
    again = searchable.search(turned, k=6)
    assert [hit.id for hit in again.hits] == [hit.id for hit in found.hits]
    np.testing.assert_allclose([h.score for h in again.hits], [h.score for h in found.hits], atol=1e-6)


def test_queries_of_one_and_of_several_samples_are_answered_together(searchable: Retriever) -> None:
    one = SearchQuery({RGB: picture(5)}, 3)
    several = SearchQuery({RGB: picture(1)}, 3, more=({RGB: picture(2)},))
    together = searchable.search_many([one, several, one])
    alone = [searchable.search_many([query])[0] for query in (one, several, one)]
    assert [[h.id for h in r.hits] for r in together] == [[h.id for h in r.hits] for r in alone]
    assert together[0].hits[0].id == "item-5"
    by_list = searchable.search({"rgb": [picture(1), picture(2)]}, k=3)
    assert [h.id for h in by_list.hits] == [h.id for h in together[1].hits]


def test_an_empty_list_is_told(searchable: Retriever) -> None:
    with pytest.raises(UsageError, match="nir: an empty list of samples"):
        searchable.search({"rgb": picture(1), "nir": []})
