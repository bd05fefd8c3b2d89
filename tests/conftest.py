"""Fixtures that every test may use, and the settings that make a run repeatable."""

from __future__ import annotations

import logging
import os
import random
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from reid.storage.retry import RETRY_ENV
from tests.support.given import given
from tests.support.s3 import Relay
from tests.support.s3_server.environment import NoSwift
from tests.support.s3_server.server import NoS3Server, S3Server

if TYPE_CHECKING:
    from tests.support.world import World


SLOW_TIMEOUT_S = 900
"""Of a slow test without a limit of its own; they start several processes, which a busy machine delays."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the users of the shared Ray session (`-m "not ray"` leaves it unstarted); limit slow tests.

    The first test on S3 may have to install the server.
    """
    for item in items:
        if "ray_session" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.ray)
        slow = item.get_closest_marker("slow") or "aws" in getattr(item, "fixturenames", ())
        if slow and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(SLOW_TIMEOUT_S))
    # A cluster of several nodes in this process leaves Ray unfit for the tests that share one: it comes last.
    items.sort(key=lambda item: item.path.name == "test_nodes.py")


@pytest.fixture(scope="session", autouse=True)
def _one_torch_thread() -> None:
    """Sums in one order whatever the machine; also keeps tests from fighting over few cores."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _stores_are_asked_once() -> Iterator[None]:
    """A test whose store is out expects the error, not minutes of patience; Ray's workers inherit this."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(RETRY_ENV, "0")
        yield


@pytest.fixture(autouse=True)
def _seeds() -> None:
    """No test depends on which ran before it."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder with the real test images: grocery/ and tno/."""
    return given("ANYREID_TEST_DATA", "data", "grocery", "tno")


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A small finished project that nobody changes: shards, a run, a gallery, two pictures."""
    from tests.support.world import make_world

    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """One Ray for the whole run: starting one costs more than most of the tests that need it.

    Its two GPUs are names only: Ray grants them, and no process may see a real one because of it.
    """
    os.environ["RAY_AUTH_MODE"] = "disabled"
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_DATA_DISABLE_PROGRESS_BARS"] = "1"
    import ray

    from pipelines.context import configure_data_context

    with pytest.MonkeyPatch.context() as environment:
        # Ray refuses to name more GPUs than this shows, and would name those of whoever set it.
        environment.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        ray.init(
            address="local",  # never a cluster that RAY_ADDRESS happens to name
            num_cpus=3,  # logical: a two-worker trainer and its driver fit beside each other
            num_gpus=2,
            include_dashboard=False,
            object_store_memory=200 * 2**20,
            logging_level=logging.ERROR,
            log_to_driver=False,
        )
    configure_data_context("small")
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The AWS variables of a real S3 server: the one that is given, or one that runs for these tests."""
    if endpoint := os.environ.get("ANYREID_TEST_S3_ENDPOINT"):
        yield {"AWS_ENDPOINT_URL": endpoint}
        return
    if os.environ.get("ANYREID_TEST_NO_S3"):
        pytest.skip("ANYREID_TEST_NO_S3 is set: no S3 server")
    try:
        server = S3Server(tmp_path_factory.mktemp("s3"))
        server.start()
    except (NoSwift, NoS3Server) as error:
        remedy = "ANYREID_TEST_S3_ENDPOINT names another, ANYREID_TEST_NO_S3=1 skips what needs one"
        raise pytest.fail.Exception(f"No S3 server ({remedy}): {error}", pytrace=False) from None
    yield server.aws
    server.close()


@pytest.fixture
def bucket(aws: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A fresh bucket of a real S3 server; the AWS variables lead to it."""
    import boto3

    for name, value in aws.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    name = f"anyreid-{uuid.uuid4().hex[:12]}"
    client.create_bucket(Bucket=name)
    yield f"s3://{name}"
    while items := client.list_objects_v2(Bucket=name).get("Contents", []):
        client.delete_objects(Bucket=name, Delete={"Objects": [{"Key": item["Key"]} for item in items]})
    client.delete_bucket(Bucket=name)


@pytest.fixture
def relay(bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Relay]:
    """The way to the S3 server that this test goes, and may interrupt."""
    way = Relay(os.environ["AWS_ENDPOINT_URL"])
    monkeypatch.setenv("AWS_ENDPOINT_URL", way.endpoint)
    yield way
    way.close()


@pytest.fixture
def own_server(aws: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """An S3 server with s3://bucket, which this test alone may stop; the AWS variables lead to it."""
    with S3Server(tmp_path / "server") as server:
        for name, value in server.aws.items():
            monkeypatch.setenv(name, value)
        server.client().create_bucket(Bucket="bucket")
        yield server
