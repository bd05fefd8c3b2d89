"""Two replicas, one truth: what was acknowledged is what every later search sees."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.support.retrieval.api_clients import BEARER, TOKEN
from tests.support.retrieval.endpoint import served
from tests.support.retrieval.filled_galleries import fill, make_run, picture, retriever_of

pytestmark = pytest.mark.slow

WRITES, READS = 8, 8


def best(url: str, asked: bytes) -> str:
    """On a connection of its own, so that either replica may answer."""
    with httpx.Client(trust_env=False, timeout=60) as client:
        answer = client.post(f"{url}/v1/search", files={"rgb": asked})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["hits"][0]["id"])


def test_an_acknowledged_change_is_seen_by_every_replica(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANYREID_TOKEN", TOKEN)
    retriever = retriever_of(make_run(tmp_path / "run", "rgb+nir", "mean"), tmp_path / "g", ["rgb"])
    fill(retriever)
    with served(retriever, tmp_path, "serve.replicas=2") as endpoint, ThreadPoolExecutor(READS) as pool:

        def found(asked: bytes) -> set[str]:
            return set(pool.map(lambda _: best(endpoint.url, asked), range(READS)))

        with httpx.Client(trust_env=False, timeout=60, headers=BEARER) as client:
            for number in range(WRITES):
                new, item = picture(500 + number), f"{endpoint.url}/v1/gallery/new-{number}"
                assert client.put(item, files={"rgb": new}).status_code == 200
                assert found(new) == {f"new-{number}"}
                assert client.delete(item).status_code == 200
                assert f"new-{number}" not in found(new)
