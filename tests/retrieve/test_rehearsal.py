"""Before the first search, one of every kind goes the whole way."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from reid.modality import subset_name
from reid.retrieve.answers import NewItem, SearchQuery, SearchResult
from reid.retrieve.rehearsal import blank_parts, rehearse
from reid.retrieve.retriever import Retriever
from tests.support.retrieval.filled_galleries import fill, make_run, retriever_of


def test_each_modality_and_all_together_are_asked_once_and_the_gallery_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    retriever = retriever_of(
        make_run(tmp_path / "run", "rgb+nir+depth+text", "mean"), tmp_path / "g", ["rgb"]
    )
    fill(retriever)
    version, asked = retriever.version, []
    search_many = retriever.search_many

    def counted(queries: list[SearchQuery]) -> list[SearchResult]:
        asked.extend(subset_name(query.parts) for query in queries)
        return search_many(queries)

    monkeypatch.setattr(retriever, "search_many", counted)
    with caplog.at_level(logging.WARNING):
        answered = rehearse(retriever)
    assert asked == answered
    assert sorted(asked) == ["depth", "nir", "rgb", "rgb+nir+depth+text", "text"]
    assert not [record for record in caplog.records if record.name == rehearse.__module__]
    assert retriever.version == version


def test_an_empty_query_of_every_modality_is_one_that_the_model_reads(tmp_path: Path) -> None:
    retriever = retriever_of(make_run(tmp_path / "run", "rgb+depth", "mean"), tmp_path / "g", ["rgb+depth"])
    parts = blank_parts("rgb+depth", 64, 32)
    retriever.put([NewItem("black", parts)])
    hits = Retriever(retriever.run, retriever.gallery).search_many([SearchQuery(parts)])[0].hits
    assert [hit.id for hit in hits] == ["black"] and hits[0].score == pytest.approx(1.0, abs=1e-5)
