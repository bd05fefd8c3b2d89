"""Stopping loses nothing in flight: real endpoints, stopped while requests wait for the model."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from reid.retrieve.retriever import Retriever
from tests.support.places import ROOT
from tests.support.retrieval.endpoint import Endpoint, Upload, environment, serve_arguments, served
from tests.support.retrieval.filled_galleries import fill, make_run, picture, retriever_of

pytestmark = pytest.mark.slow

REQUESTS = 48
NEVER_READY = """
import time
import pipelines.serve.app as app
from jobs.common import run_verb
from jobs.serve import serve

def wait_ready(url):
    print("starting", flush=True)
    time.sleep(300)

app.wait_ready = wait_ready
run_verb(serve)
"""


@pytest.fixture
def retriever(tmp_path: Path) -> Retriever:
    found = retriever_of(make_run(tmp_path / "run", "rgb+nir", "mean"), tmp_path / "g", ["rgb"])
    fill(found, REQUESTS)
    return found


@pytest.fixture
def endpoint(retriever: Retriever, tmp_path: Path) -> Iterator[Endpoint]:
    # One search at a time: most requests are still there when the endpoint is asked to stop.
    with served(retriever, tmp_path, "serve.batch_size=1") as found:
        yield found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("pause_s", [0.0, 2.0], ids=["waiting", "half uploaded"])
def test_requests_in_flight_are_answered(endpoint: Endpoint, number: signal.Signals, pause_s: float) -> None:
    with ThreadPoolExecutor(REQUESTS) as pool:
        started = threading.Semaphore(0)
        asked = [
            pool.submit(Upload.of(endpoint.url, picture(n)).send, pause_s, started) for n in range(REQUESTS)
        ]
        for _ in range(REQUESTS):
            assert started.acquire(timeout=60)
        time.sleep(0.1)  # from the sockets to the replicas
        assert not all(future.done() for future in asked)
        if number == signal.SIGINT:
            os.killpg(endpoint.process.pid, number)  # a terminal sends Ctrl-C to the whole group
        else:
            endpoint.process.send_signal(number)
        answers = [future.result() for future in asked]
    assert [answer.status_code for answer in answers] == [200] * REQUESTS
    assert [answer.json()["hits"][0]["id"] for answer in answers] == [f"item-{n}" for n in range(REQUESTS)]
    assert endpoint.process.wait(60) == 0, endpoint.log.read_text()
    assert "stopping once" in endpoint.log.read_text()


def test_ctrl_c_before_it_answers_ends_it_as_any_verb(retriever: Retriever, tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", NEVER_READY, *serve_arguments(retriever, tmp_path)],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "starting\n"
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert "serve: stopped before it answered; taking it down" in err
    assert err.splitlines()[-1] == "stopped; run the same command again to go on"
