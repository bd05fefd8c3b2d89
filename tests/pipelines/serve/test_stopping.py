"""Stopping loses nothing in flight: real endpoints, stopped while requests wait in the model's batch."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from reid.retrieve.retriever import Retriever
from tests.support.retrieval.endpoint import Endpoint, Upload, served
from tests.support.retrieval.filled_galleries import fill, make_run, picture, retriever_of

pytestmark = pytest.mark.slow

REQUESTS = 12


@pytest.fixture
def retriever(tmp_path: Path) -> Retriever:
    found = retriever_of(make_run(tmp_path / "run", "rgb+nir", "mean"), tmp_path / "g", ["rgb"])
    fill(found, REQUESTS)
    return found


@pytest.fixture
def endpoint(retriever: Retriever, tmp_path: Path) -> Iterator[Endpoint]:
    # A batch that never fills keeps each request waiting for three seconds.
    with served(retriever, tmp_path, "serve.batch_size=100", "serve.batch_wait_s=3") as found:
        yield found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("pause_s", [0.0, 2.0], ids=["in the batch", "half uploaded"])
def test_requests_in_flight_are_answered(endpoint: Endpoint, number: signal.Signals, pause_s: float) -> None:
    with ThreadPoolExecutor(REQUESTS) as pool:
        started = threading.Semaphore(0)
        asked = [
            pool.submit(Upload.of(endpoint.url, picture(n)).send, pause_s, started) for n in range(REQUESTS)
        ]
        for _ in range(REQUESTS):
            assert started.acquire(timeout=60)
        time.sleep(0.5)  # from the sockets to the replicas
        assert not any(future.done() for future in asked)
        if number == signal.SIGINT:
            os.killpg(endpoint.process.pid, number)  # a terminal sends Ctrl-C to the whole group
        else:
            endpoint.process.send_signal(number)
        answers = [future.result() for future in asked]
    assert [answer.status_code for answer in answers] == [200] * REQUESTS
    assert [answer.json()["hits"][0]["id"] for answer in answers] == [f"item-{n}" for n in range(REQUESTS)]
    assert endpoint.process.wait(60) == 0, endpoint.log.read_text()
    assert "stopping once" in endpoint.log.read_text()
