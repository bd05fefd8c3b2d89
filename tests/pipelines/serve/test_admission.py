"""What the deployment got, and a gate that refuses newcomers while the open requests end."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from pipelines.serve.gate import Gate, Gated
from reid.config import ServeConfig, override
from tests.support.retrieval.filled_galleries import fill, make_run, picture, retriever_of


@pytest.mark.slow
@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize(
    ("settings", "ongoing"),
    [({}, 256), ({"serve.max_ongoing_requests": 80}, 80), ({"serve.batch_size": 200}, 400)],
    ids=["default", "chosen", "large batch"],
)
def test_a_replica_admits_what_the_configuration_says(
    tmp_path: Path, settings: dict[str, int], ongoing: int
) -> None:
    from ray import serve
    from ray.serve.context import _get_global_client

    from pipelines.serve import app

    retriever = retriever_of(make_run(tmp_path / "run", "rgb+nir", "mean"), tmp_path / "g", ["rgb"])
    fill(retriever)
    config = override(
        retriever.run.config,
        {"device": "cpu", "serve.port": 0, "serve.request_timeout_s": 30, **settings},
    )
    url = app.run(config, run_uri=retriever.run.uri, gallery_uri=retriever.gallery.uri)
    try:
        found = _get_global_client().get_serve_details()["applications"][app.APP_NAME]["deployments"]
        got = {name: deployment["deployment_config"] for name, deployment in found.items()}
        assert set(got) == {"Endpoint"}
        assert got["Endpoint"]["max_ongoing_requests"] == ongoing
        assert got["Endpoint"]["max_queued_requests"] == ongoing
        assert got["Endpoint"]["graceful_shutdown_timeout_s"] > 30
        answer = httpx.post(f"{url}/v1/search", files={"rgb": picture(1)}, trust_env=False, timeout=60)
        assert answer.status_code == 200, answer.text
    finally:
        app.stop()
    assert not serve.status().applications


def test_the_default_admits_far_more_than_a_batch() -> None:
    assert ServeConfig().max_ongoing_requests >= 8 * ServeConfig().batch_size


def test_a_closed_gate_answers_the_open_request_and_refuses_newcomers() -> None:
    async def scene() -> tuple[httpx.Response, httpx.Response, int, int]:
        gate, go_on = Gate(), asyncio.Event()
        api = FastAPI()
        api.add_middleware(Gated, gate=gate)

        @api.get("/slow")
        async def slow() -> str:
            await go_on.wait()
            return "done"

        transport = httpx.ASGITransport(app=api)
        async with httpx.AsyncClient(transport=transport, base_url="http://endpoint") as client:
            first = asyncio.create_task(client.get("/slow"))
            while not gate.open_requests:
                await asyncio.sleep(0.01)
            left_too_early = await gate.close(timeout_s=0.1)
            newcomer = await client.get("/slow")
            go_on.set()
            left = await gate.close(timeout_s=30)
            return await first, newcomer, left_too_early, left

    first, newcomer, left_too_early, left = asyncio.run(scene())
    assert (first.status_code, first.json()) == (200, "done")
    assert (left_too_early, left) == (1, 0)
    assert newcomer.status_code == 503
    assert newcomer.headers["retry-after"] == "2"
    assert set(newcomer.json()) == {"error", "field", "remedy"}
