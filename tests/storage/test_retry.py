"""What is tried again when an object store does not answer, for how long, and what is told."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable
from typing import Any

import pytest

from reid import storage
from reid.errors import StorageError, UsageError
from reid.storage import retry
from reid.storage.retry import RETRY_ENV, retried, tried_once
from tests.support.s3 import Relay
from tests.support.s3_server.server import S3Server

OUT = (
    "When reading information for key 'k' in bucket 'b': AWS Error NETWORK_CONNECTION during HeadObject "
    "operation: curlCode: 7, Could not connect to server"
)
URI = "s3://bucket/key"


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(retry, "time", clock)
    monkeypatch.setattr(retry, "_pause", clock.sleep)
    monkeypatch.setattr(retry, "_teller", retry._Teller())
    monkeypatch.setenv(RETRY_ENV, "300")
    return clock


def out_until(clock: Clock, end: float, message: str = OUT) -> Callable[[], str]:
    """A read from a store that answers from a certain time on."""

    def call() -> str:
        if clock.now < end:
            raise OSError(message)
        return "content"

    return call


@pytest.mark.parametrize(
    "message",
    [
        OUT,
        "AWS Error SLOW_DOWN during PutObject operation: Please reduce your request rate.",
        "AWS Error SERVICE_UNAVAILABLE during GetObject operation: busy",
        "AWS Error UNKNOWN (HTTP status 502) during ListObjectsV2 operation: Bad Gateway",
        "AWS Error UNKNOWN (HTTP status 429) during HeadObject operation: No response body.",
    ],
)
def test_a_store_that_is_out_for_three_minutes_is_waited_for(clock: Clock, message: str) -> None:
    assert retried(URI, out_until(clock, 180.0, message)) == "content"
    assert 180 <= clock.now <= 180 + retry.LONGEST_WAIT_S


@pytest.mark.parametrize(
    "message",
    [
        "AWS Error ACCESS_DENIED during HeadObject operation: No response body.",
        "AWS Error NO_SUCH_BUCKET during CreateMultipartUpload operation: The bucket does not exist.",
        "AWS Error SIGNATURE_DOES_NOT_MATCH during ListObjectsV2 operation",
        "AWS Error UNKNOWN (HTTP status 400) during HeadObject operation: No response body.",
        "[Errno 28] No space left on device",
    ],
)
def test_a_refusal_is_an_error_at_once(clock: Clock, message: str) -> None:
    with pytest.raises(OSError, match=re.escape(message)):
        retried(URI, out_until(clock, 5.0, message))
    assert clock.pauses == []


def test_a_missing_file_is_an_error_at_once(clock: Clock) -> None:
    def missing() -> None:
        raise FileNotFoundError(2, "No such file")

    with pytest.raises(FileNotFoundError):
        retried(URI, missing)
    assert clock.pauses == []


def test_after_the_allowed_time_the_last_error_is_raised(clock: Clock) -> None:
    with pytest.raises(OSError, match="NETWORK_CONNECTION"):
        retried(URI, out_until(clock, 1e9))
    assert clock.now == pytest.approx(300)


def test_pauses_grow_to_half_a_minute_and_differ_from_process_to_process(clock: Clock) -> None:
    retried(URI, out_until(clock, 290.0))
    longest = [min(30.0, 2.0**n) for n in range(len(clock.pauses))]
    assert all(m / 2 <= p <= m for p, m in zip(clock.pauses[:-1], longest, strict=False))
    assert clock.pauses != [round(p) for p in clock.pauses]


def test_each_outage_has_the_whole_time(clock: Clock) -> None:
    for end in (200.0, 400.0, 600.0):
        assert retried(URI, out_until(clock, end)) == "content"


def test_local_files_are_tried_once(clock: Clock) -> None:
    with pytest.raises(OSError):
        retried("/data/file", out_until(clock, 5.0))
    assert clock.pauses == []


def test_who_asks_whether_a_store_answers_now_does_not_wait(clock: Clock) -> None:
    with tried_once(), pytest.raises(OSError):
        retried(URI, out_until(clock, 5.0))
    assert clock.pauses == []
    assert retried(URI, out_until(clock, 5.0)) == "content"


def test_waiting_is_told_at_once_and_every_half_minute_and_so_is_the_end(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        retried(URI, out_until(clock, 100.0))
    first, *others, last = caplog.messages
    assert first.startswith(f"{URI}: the store does not answer") and "Could not connect" in first
    assert f"for up to 300 s ({RETRY_ENV})" in first
    assert 1 <= len(others) <= 3 and last.startswith(f"{URI}: the store answers again, after 1")


def test_many_threads_that_wait_for_one_store_tell_it_once(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    calls = [out_until(clock, 10.0) for _ in range(8)]
    with caplog.at_level(logging.WARNING):
        threads = [threading.Thread(target=retried, args=(URI, call)) for call in calls]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len([m for m in caplog.messages if "does not answer" in m]) <= 2


def test_a_process_that_was_told_to_end_waits_for_no_store(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Lock()
    monkeypatch.setattr(retry, "_gate", gate)
    monkeypatch.setattr(retry, "_ending", False)
    monkeypatch.setenv(RETRY_ENV, "300")
    failed: list[OSError] = []
    out = threading.Event()

    def away() -> None:
        out.set()
        raise OSError(OUT)

    def read() -> None:
        try:
            retried(URI, away)
        except OSError as error:
            failed.append(error)

    with gate:
        threads = [threading.Thread(target=read) for _ in range(2)]
        for thread in threads:
            thread.start()
        assert out.wait(5)
        retry.wait_no_more()
        retry.wait_no_more()
        for thread in threads:
            thread.join(5)
        assert len(failed) == 2
        with pytest.raises(OSError, match="NETWORK_CONNECTION"):
            retried(URI, away)
        gate.acquire()  # for the end of the block


@pytest.mark.parametrize("text", ["soon", "-1", "nan"])
def test_a_time_that_is_none_is_a_usage_error(clock: Clock, monkeypatch: Any, text: str) -> None:
    monkeypatch.setenv(RETRY_ENV, text)
    with pytest.raises(UsageError, match=f"{RETRY_ENV}: '{text}' is not a number of seconds"):
        retried(URI, out_until(clock, 5.0))


@pytest.mark.slow
def test_everything_done_with_files_survives_an_outage(
    bucket: str, relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(RETRY_ENV, "60")
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        relay.restore()

    monkeypatch.setattr(retry, "_pause", pause)
    uri = f"{bucket}/folder/file"
    done = {
        "write": lambda: storage.write_bytes(uri, b"content"),
        "read": lambda: storage.read_bytes(uri),
        "exists": lambda: storage.exists(uri),
        "stamp": lambda: storage.stamp(uri).split("@")[0],
        "infos": lambda: [i.base_name for i in storage.list_infos(f"{bucket}/folder")],
        "list": lambda: storage.list_files(f"{bucket}/folder"),
        "delete": lambda: storage.delete_file(uri),
    }
    got = {}
    for name, call in done.items():
        relay.cut()
        got[name] = call()
    told = {"read": b"content", "exists": True, "stamp": "7", "infos": ["file"], "list": [uri]}
    assert got == {"write": None, **told, "delete": None}
    assert not storage.exists(uri)
    assert len(pauses) == len(done)


@pytest.mark.slow
def test_a_server_that_is_stopped_in_the_middle_of_a_read_and_started_again_is_read_to_the_end(
    own_server: S3Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(RETRY_ENV, "120")
    monkeypatch.setattr(retry, "_teller", retry._Teller())
    content = bytes(range(256)) * 20_000
    storage.write_bytes("s3://bucket/large", content)
    fs, path = storage.resolve("s3://bucket/large")
    starts: list[threading.Timer] = []

    def read() -> bytes:
        with fs.open_input_file(path) as stream:
            head = stream.read(1_000_000)
            if not starts:
                own_server.stop()
                starts.append(threading.Timer(5.0, own_server.start))
                starts[0].start()
            return bytes(head + stream.read())

    with caplog.at_level(logging.WARNING):
        assert retried("s3://bucket/large", read) == content
    assert "does not answer" in caplog.messages[0] and "answers again" in caplog.messages[-1]

    own_server.stop()
    back = threading.Timer(3.0, own_server.start)
    back.start()
    storage.write_bytes("s3://bucket/another", content)
    back.join()
    assert storage.read_bytes("s3://bucket/another") == content
    assert storage.list_files("s3://bucket") == ["s3://bucket/another", "s3://bucket/large"]

    own_server.stop()
    monkeypatch.setenv(RETRY_ENV, "2")
    with pytest.raises(StorageError, match=r"s3://bucket/large.*AWS_ENDPOINT_URL"):
        storage.read_bytes("s3://bucket/large")
