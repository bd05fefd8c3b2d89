"""No client rules the endpoint's time limit: a real endpoint, and clients that send Serve's own headers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from pipelines.serve.app import timeout_is_clients
from pipelines.serve.headers import IMPORT_PATH, VARIABLE
from tests.support.places import ROOT
from tests.support.retrieval.endpoint import Endpoint, Upload, served
from tests.support.retrieval.filled_galleries import fill, make_run, picture, retriever_of

TIMEOUT_S = 2.0
FOR_EVER = {"x-request-timeout-seconds": "0"}
AT_ONCE = {"x-request-timeout-seconds": "0.000001"}


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    folder = tmp_path_factory.mktemp("headers")
    retriever = retriever_of(make_run(folder / "run", "rgb+nir", "mean"), folder / "g", ["rgb"])
    fill(retriever)
    with served(retriever, folder, f"serve.request_timeout_s={TIMEOUT_S}") as found:
        yield found


@pytest.mark.slow
@pytest.mark.parametrize("headers", [{}, FOR_EVER, {"X-Request-Timeout-Seconds": "3600"}])
def test_a_slow_request_is_cut_whatever_time_it_asks_for(endpoint: Endpoint, headers: dict[str, str]) -> None:
    began = time.monotonic()
    answer = Upload.of(endpoint.url, picture(1), **headers).send(pause_s=2 * TIMEOUT_S)
    assert answer.status_code == 408, answer.text
    assert time.monotonic() - began >= TIMEOUT_S


@pytest.mark.slow
@pytest.mark.parametrize("headers", [{}, FOR_EVER, AT_ONCE, {"x-request-disconnect-disabled": "?1"}])
def test_an_ordinary_request_is_answered_with_and_without_such_a_header(
    endpoint: Endpoint, headers: dict[str, str]
) -> None:
    answer = Upload.of(endpoint.url, picture(3), **headers).send()
    assert answer.status_code == 200, answer.text
    assert answer.json()["hits"][0]["id"] == "item-3"


@pytest.mark.slow
def test_forty_stalled_uploads_keep_nobody_else_out(endpoint: Endpoint) -> None:
    with ThreadPoolExecutor(40) as pool:
        stalled = [
            pool.submit(Upload.of(endpoint.url, picture(n), **FOR_EVER).send, 2 * TIMEOUT_S)
            for n in range(40)
        ]
        time.sleep(TIMEOUT_S / 3)
        answer = Upload.of(endpoint.url, picture(3)).send()
        assert not any(future.done() for future in stalled)
        assert answer.status_code == 200, answer.text
        assert {future.result().status_code for future in stalled} == {408}


@pytest.mark.slow
def test_the_endpoint_does_not_warn_about_itself(endpoint: Endpoint) -> None:
    assert timeout_is_clients(endpoint.url) is False
    assert VARIABLE not in endpoint.log.read_text()
    assert httpx.get(f"{endpoint.url}/healthz", trust_env=False).status_code == 200


def test_the_image_for_clusters_names_the_same_middleware() -> None:
    lines = (ROOT / "cluster" / "Dockerfile").read_text().splitlines()
    assert f"ENV {VARIABLE}={IMPORT_PATH}" in lines
