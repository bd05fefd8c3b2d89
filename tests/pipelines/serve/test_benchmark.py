"""The endpoint's benchmark reads answers as HTTP sends them; the same searches in a loop come first."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pipelines.serve.benchmark import CLIENTS, serve_rows
from pipelines.serve.load import load, request_bytes
from reid.errors import ServiceError
from reid.studies.benchmarks.timing import BenchmarkRow

SEEN: list[bytes] = []


class Answers(BaseHTTPRequestHandler):
    """Answers what it was sent, in one piece or in chunks, and refuses "no"."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        SEEN.append(body)
        self.send_response(503 if body == b"no" else 200)
        if body == b"chunks":
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
            return
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    SEEN.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/search"
        server.shutdown()


def test_every_client_sends_one_request_after_another_and_all_answers_count(url: str) -> None:
    requests = [request_bytes(url, body, "text/plain") for body in (b"whole", b"chunks")]
    found = load(url, requests, clients=2, seconds=0.2)
    assert len(found.milliseconds) == len(SEEN) > 2
    assert set(SEEN) == {b"whole", b"chunks"}
    assert found.percentile(50) <= found.percentile(99)


def test_an_answer_that_is_none_ends_it(url: str) -> None:
    with pytest.raises(ServiceError, match="answered 503 to 1 clients"):
        load(url, [request_bytes(url, b"no", "text/plain")], clients=1, seconds=1.0)


@pytest.mark.slow
@pytest.mark.usefixtures("ray_session")
def test_the_loop_comes_first_and_every_number_of_clients_has_its_rows(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = list(serve_rows(lambda _: None, seconds=0.5))
    assert all(isinstance(row, BenchmarkRow) and (row.value or row.skipped) for row in rows), json.dumps(
        [row.to_json() for row in rows]
    )
    assert [row.name for row in rows[:3]] == [f"loop without HTTP, batches of {n}" for n in (1, 8, 32)]
    assert len(rows) == 3 + 3 * len(CLIENTS) + 1
    with_targets = {row.name.partition(":")[0] for row in rows if row.target is not None}
    assert with_targets == {"1 clients", "64 clients", "requests of 64 clients against those of 16"}
