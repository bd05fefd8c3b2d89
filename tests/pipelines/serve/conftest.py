"""A filled gallery of an untrained run, and a client that may search it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from reid.retrieve.retriever import Retriever
from reid.runs.run import Run
from tests.support.retrieval.api_clients import TOKEN, client_of
from tests.support.retrieval.filled_galleries import fill, make_run, retriever_of


@pytest.fixture(scope="module")
def any_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_run(tmp_path_factory.mktemp("any") / "run", "rgb+nir+sketch+text", "mean")


@pytest.fixture
def retriever(any_run: Run, tmp_path: Path) -> Retriever:
    found = retriever_of(any_run, tmp_path / "g", ["rgb", "rgb+nir"])
    fill(found)
    return found


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANYREID_TOKEN", TOKEN)


@pytest.fixture
def client(retriever: Retriever) -> Iterator[TestClient]:
    with client_of(retriever, max_upload_mib=0.25, max_pixels=100_000, max_text_chars=50) as found:
        yield found
