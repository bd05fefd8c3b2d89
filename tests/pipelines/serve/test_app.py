"""The endpoint: answers, refusals and limits without Ray; one slow test with Ray Serve itself."""

from __future__ import annotations

import base64
import io
import json
import logging
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from pipelines.serve.api import make_api
from pipelines.serve.core import LocalCore
from pipelines.serve.limits import ApiError, RateLimiter
from reid.config import ServeConfig
from reid.errors import ServiceError
from reid.gallery.store import Gallery
from reid.retrieve.answers import NewItem, SearchQuery, SearchResult
from reid.retrieve.retriever import Retriever
from reid.runs.run import Run
from tests.retrieve.test_retriever import RGB, fill, made_calibration, make_run, picture, retriever_of

TOKEN = "correct-horse"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


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


def client_of(retriever: Retriever, **settings: Any) -> TestClient:
    return TestClient(make_api(LocalCore(retriever), ServeConfig(**settings)))


@pytest.fixture
def client(retriever: Retriever) -> Iterator[TestClient]:
    with client_of(retriever, max_upload_mib=0.25, max_pixels=100_000, max_text_chars=50) as found:
        yield found


def refusal(response: Any, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    body = response.json()
    assert set(body) == {"error", "field", "remedy"}
    assert "Traceback" not in response.text
    return dict(body)


def test_search_answers_with_thumbnails_and_provenance(client: TestClient, retriever: Retriever) -> None:
    answer = client.post("/v1/search", files={"rgb": picture(3)}, data={"top_k": "2"})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["hits"][0]["id"] == "item-3"
    assert len(body["hits"]) == 2
    first = body["hits"][0]
    assert (first["pid"], first["camid"], first["modalities"]) == (1, 1, ["rgb"])
    assert Image.open(io.BytesIO(base64.b64decode(first["thumbnail"]))).format == "JPEG"
    assert body["query_subset"] == body["gallery_subset"] == "rgb"
    assert body["gallery_version"] == retriever.version
    assert body["model_fingerprint"] == retriever.run.fingerprint
    assert body["calibrated"] is False
    assert body["degraded"] is False
    assert body["took_ms"] > 0


@pytest.fixture
def sure(tmp_path: Path) -> Iterator[TestClient]:
    """An endpoint whose run calibrates rgb against rgb."""
    run = make_run(tmp_path / "run", "rgb+nir", "mean", calibration=made_calibration())
    found = retriever_of(run, tmp_path / "sure", ["rgb"])
    fill(found)
    with client_of(found) as client:
        yield client


def test_calibrated_hits_have_probabilities_and_unsure_ones_may_be_withheld(sure: TestClient) -> None:
    body = sure.post("/v1/search", files={"rgb": picture(3)}, data={"prior": "0.5"}).json()
    assert (body["calibrated"], body["prior"], body["nothing_confident"]) == (True, 0.5, False)
    assert 0.8 < body["hits"][0]["probability"] < 0.9 < body["hits"][0]["likelihood_ratio"]
    asked = {"min_probability": "0.9", "fpr": "0.1"}
    body = sure.post("/v1/search", files={"rgb": picture(3)}, data=asked).json()
    assert (body["hits"], body["nothing_confident"], body["threshold"]) == ([], True, 0.95)
    assert any("Nothing confident" in warning for warning in body["warnings"])
    other = sure.post("/v1/search", files={"nir": picture(3)}).json()
    assert (other["calibrated"], other["hits"][0]["probability"]) == (False, None)


def test_demands_that_cannot_be_met_are_422(sure: TestClient, client: TestClient) -> None:
    for name in ("min_probability", "fpr", "prior"):
        for value in ("0", "-1", "1.5", "nan", "high"):
            response = sure.post("/v1/search", files={"rgb": picture(1)}, data={name: value})
            assert refusal(response, 422)["field"] == name
    response = sure.post("/v1/search", files={"rgb": picture(1)}, data={"fpr": "0.001"})
    assert "published: 0.1" in refusal(response, 422)["error"]
    response = client.post("/v1/search", files={"rgb": picture(1)}, data={"min_probability": "0.5"})
    assert "rgb is not calibrated (not measured)" in refusal(response, 422)["error"]


def test_healthz_says_what_is_calibrated(sure: TestClient, client: TestClient) -> None:
    told = sure.get("/healthz").json()
    assert told["calibrated"] is True
    assert told["calibration"] == {
        "protocol": "cross_camera",
        "identities": 30,
        "prior": None,
        "fpr": {"rgb": [0.1]},
    }
    told = client.get("/healthz").json()
    assert (told["calibrated"], told["calibration"]) == (False, {"why_not": "not measured"})


def test_text_and_gallery_subset_may_be_asked(client: TestClient) -> None:
    asked = {"text": "a red coat", "gallery": "nir+rgb", "top_k": "3"}
    body = client.post("/v1/search", files={"sketch": ("", b"")}, data=asked).json()
    assert (body["query_subset"], body["gallery_subset"], len(body["hits"])) == (
        "text",
        "rgb+nir",
        3,
    )
    assert body["warnings"]


def test_unknown_modality_field_names_the_nearest(client: TestClient) -> None:
    body = refusal(client.post("/v1/search", files={"skecth": picture(1)}), 422)
    assert body["field"] == "skecth"
    assert "Did you mean 'sketch'?" in body["remedy"]


@pytest.mark.parametrize("streamed", [False, True])
def test_oversize_body_is_413(client: TestClient, streamed: bool) -> None:
    big = b"x" * 400_000
    head = b'--B\r\nContent-Disposition: form-data; name="rgb"; filename="a.jpg"\r\n\r\n'
    content: Any = iter([head, big, b"\r\n--B--\r\n"]) if streamed else head + big + b"\r\n--B--\r\n"
    response = client.post(
        "/v1/search",
        content=content,
        headers={"Content-Type": "multipart/form-data; boundary=B"},
    )
    assert "serve.max_upload_mib" in refusal(response, 413)["remedy"]


def test_too_many_pixels_are_refused_by_the_header(client: TestClient) -> None:
    stream = io.BytesIO()
    Image.new("RGB", (2000, 2000)).save(stream, "PNG")
    body = refusal(client.post("/v1/search", files={"nir": stream.getvalue()}), 413)
    assert body["field"] == "nir"
    assert "2000x2000" in body["error"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (picture(1, (128, 256))[:-200], "truncated"),
        (picture(1)[:300], "not a complete picture"),
        (b"not an image at all", "not a complete picture"),
        (b"", "empty file"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a complete picture"),
    ],
)
def test_broken_picture_is_422_naming_the_field(client: TestClient, content: bytes, message: str) -> None:
    body = refusal(client.post("/v1/search", files={"rgb": ("a.jpg", content)}), 422)
    assert body["field"] == "rgb"
    assert message in body["error"]


@pytest.mark.parametrize("value", ["0", "101", "-1", "ten", "1.5", "9" * 30, "²"])
def test_top_k_out_of_range_is_422(client: TestClient, value: str) -> None:
    response = client.post("/v1/search", files={"rgb": picture(1)}, data={"top_k": value})
    assert refusal(response, 422)["field"] == "top_k"


def test_text_too_long_is_422(client: TestClient) -> None:
    assert refusal(client.post("/v1/search", data={"text": "x" * 51}), 422)["field"] == "text"
    assert refusal(client.post("/v1/search", data={"text": "x" * 60_000}), 422)


def test_wrong_kinds_counts_and_forms_are_refused(client: TestClient) -> None:
    address = client.post("/v1/search", data={"rgb": "http://169.254.169.254/"})
    assert "nothing is fetched" in refusal(address, 422)["remedy"]
    twice = client.post("/v1/search", files=[("rgb", picture(1)), ("rgb", picture(2))])
    assert "twice" in refusal(twice, 422)["error"]
    six = client.post("/v1/search", files=[(f"f{n}", picture(n)) for n in range(6)])  # four, and a mask
    assert "Too many files" in refusal(six, 422)["error"]
    assert refusal(client.post("/v1/search", files={"text": b"words"}), 422)["field"] == "text"
    assert refusal(client.post("/v1/search", json={"text": "x"}), 415)
    assert refusal(client.post("/v1/search", data={"top_k": "3"}), 422)["error"] == "An empty query."
    gallery = client.post("/v1/search", data={"text": "x", "gallery": "rgbb"})
    assert refusal(gallery, 422)["field"] == "gallery"
    assert refusal(client.get("/v1/search"), 405)
    assert refusal(client.get("/docs"), 404)


def test_unanswerable_pairing_says_which_model_can(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", "rgb+nir+tir", "concat")
    client = client_of(retriever_of(run, tmp_path / "g", ["rgb"]))
    body = refusal(client.post("/v1/search", files={"tir": picture(1)}), 422)
    assert "Systems that can, trained with these modalities" in body["error"]
    assert (
        "takes any subset of"
        in refusal(client.post("/v1/search", files={"sketch": picture(1)}), 422)["error"]
    )


def test_mutating_without_a_configured_token_is_403(client: TestClient) -> None:
    for response in (
        client.put("/v1/gallery/x", files={"rgb": picture(1)}),
        client.post("/v1/gallery", files={"rgb": picture(1)}, headers=BEARER),
        client.delete("/v1/gallery/item-1"),
    ):
        assert "ANYREID_TOKEN" in refusal(response, 403)["remedy"]


@pytest.mark.usefixtures("token")
def test_wrong_or_missing_token_is_401(retriever: Retriever) -> None:
    client = client_of(retriever)
    for headers in ({}, {"Authorization": "Bearer nope"}, {"Authorization": f"Basic {TOKEN}"}):
        response = client.delete("/v1/gallery/item-1", headers=headers)
        refusal(response, 401)
        assert response.headers["www-authenticate"] == "Bearer"
    assert client.post("/v1/search", files={"rgb": picture(1)}).status_code == 200
    assert retriever.gallery.count() == 8


@pytest.mark.usefixtures("token")
def test_auth_all_guards_search_too(retriever: Retriever) -> None:
    client = client_of(retriever, auth="all")
    refusal(client.post("/v1/search", files={"rgb": picture(1)}), 401)
    found = client.post("/v1/search", files={"rgb": picture(1)}, headers=BEARER)
    assert found.status_code == 200
    assert client.get("/healthz").json()["auth"]["search"] is True


def test_auth_all_without_a_token_does_not_start(retriever: Retriever) -> None:
    with pytest.raises(ServiceError, match="ANYREID_TOKEN"):
        client_of(retriever, auth="all")


@pytest.mark.usefixtures("token")
def test_items_can_be_put_found_replaced_and_deleted(retriever: Retriever) -> None:
    client = client_of(retriever)
    labels = {"pid": "7", "camid": "2", "timestamp": "12.5"}
    files = {"rgb": picture(60), "nir": picture(61)}
    put = client.put("/v1/gallery/cam 2/new", files=files, data=labels, headers=BEARER)
    assert put.status_code == 200, put.text
    asked = {"top_k": "1", "gallery": "rgb+nir"}
    body = client.post("/v1/search", files=files, data=asked).json()
    hit = body["hits"][0]
    assert (hit["id"], hit["pid"], hit["camid"]) == ("cam 2/new", 7, 2)
    assert (hit["timestamp"], hit["modalities"]) == (12.5, ["rgb", "nir"])
    assert body["gallery_version"] == put.json()["gallery_version"]
    posted = client.post("/v1/gallery", files={"rgb": picture(62)}, headers=BEARER).json()
    assert posted["id"]
    assert client.get("/healthz").json()["gallery"]["items"] == 10
    gone = client.delete("/v1/gallery/cam 2/new", headers=BEARER)
    assert gone.json() == {"id": "cam 2/new", "deleted": 1}
    again = client.post("/v1/search", files=files, data={"top_k": "20"}).json()
    assert "cam 2/new" not in {h["id"] for h in again["hits"]}
    refusal(client.delete("/v1/gallery/cam 2/new", headers=BEARER), 404)
    nothing = client.put("/v1/gallery/x", data={"text": "words"}, headers=BEARER)
    assert "index.subsets" in refusal(nothing, 422)["error"]
    for wrong in ({"pid": "-1"}, {"camid": "x"}, {"timestamp": "nan"}, {"id": "other"}):
        response = client.put("/v1/gallery/x", files=files, data=wrong, headers=BEARER)
        assert refusal(response, 422)["field"] == next(iter(wrong))


def test_rate_limit_is_429_with_retry_after(retriever: Retriever) -> None:
    client = client_of(retriever, requests_per_minute=3)
    codes = [client.post("/v1/search", data={"text": "x"}).status_code for _ in range(3)]
    assert codes == [200] * 3
    response = client.post("/v1/search", data={"text": "x"})
    refusal(response, 429)
    assert int(response.headers["retry-after"]) >= 1
    assert client.get("/healthz").status_code == 200


def test_rate_limiter_refills_and_is_per_client() -> None:
    now = [0.0]
    rates = RateLimiter(60, clock=lambda: now[0])
    for _ in range(60):
        rates.check("a")
    with pytest.raises(ApiError):
        rates.check("a")
    rates.check("b")
    now[0] = 2.0
    rates.check("a")
    rates.check("a")
    with pytest.raises(ApiError) as caught:
        rates.check("a")
    assert caught.value.headers == {"Retry-After": "1"}


@pytest.mark.usefixtures("token")
def test_audit_log_has_a_line_for_each_search_and_change(
    retriever: Retriever, caplog: pytest.LogCaptureFixture
) -> None:
    client = client_of(retriever)
    with caplog.at_level(logging.INFO, logger="anyreid.audit"):
        client.post("/v1/search", files={"rgb": picture(1)}, data={"text": "secret words"})
        client.put("/v1/gallery/n", files={"rgb": picture(2)}, headers=BEARER)
        client.delete("/v1/gallery/n", headers={"Authorization": "Bearer nope"})
    lines = [json.loads(r.message) for r in caplog.records if r.name == "anyreid.audit"]
    assert [(line["event"], line["status"]) for line in lines] == [
        ("search", 200),
        ("gallery.put", 200),
        ("gallery.delete", 401),
    ]
    assert lines[0]["query"] == "rgb+text"
    assert lines[0]["client"]
    assert lines[1]["id"] == "n"
    assert "secret words" not in caplog.text
    assert TOKEN not in caplog.text


def test_a_failure_inside_shows_no_traceback(retriever: Retriever) -> None:
    class Broken(LocalCore):
        async def search(self, query: SearchQuery) -> SearchResult:
            raise RuntimeError("secret path")

    client = TestClient(make_api(Broken(retriever), ServeConfig()))
    response = client.post("/v1/search", data={"text": "x"})
    assert refusal(response, 500)["error"] == "Internal error."
    assert "secret path" not in response.text


def test_healthz_says_what_can_be_asked(client: TestClient, retriever: Retriever) -> None:
    body = client.get("/healthz").json()
    assert body["status"] == "ok"
    assert body["gallery"] == {
        "items": 8,
        "version": retriever.version,
        "subsets": ["rgb", "rgb+nir"],
        "search": "exact",
    }
    assert body["model"]["query_modalities"] == ["rgb", "nir", "sketch", "text"]
    assert body["answers"]["sketch+text"] == "rgb"
    assert body["auth"] == {"search": False, "gallery": "read-only"}


def test_page_is_self_contained(client: TestClient) -> None:
    response = client.get("/")
    assert response.status_code == 200
    assert "{{" not in response.text
    assert "http://" not in response.text
    assert "https://" not in response.text
    policy = response.headers["content-security-policy"]
    nonce = policy.split("script-src 'nonce-")[1].split("'")[0]
    assert f'<script nonce="{nonce}">' in response.text
    assert "default-src 'none'" in policy


@pytest.mark.slow
@pytest.mark.usefixtures("ray_session")
def test_served_by_ray(retriever: Retriever) -> None:
    import asyncio

    import httpx

    from pipelines.serve import app
    from reid.config import override

    config = override(retriever.run.config, {"serve.port": 0, "serve.batch_size": 4})
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        busy = override(config, {"serve.port": port})
        with pytest.raises(ServiceError, match=rf"Port {port} .*serve\.port="):
            app.run(busy, run_uri=retriever.run.uri, gallery_uri=retriever.gallery.uri)
    url = app.run(config, run_uri=retriever.run.uri, gallery_uri=retriever.gallery.uri)
    try:

        async def ask_all() -> list[httpx.Response]:
            async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
                return await asyncio.gather(
                    *(client.post(f"{url}/v1/search", files={"rgb": picture(n)}) for n in range(8)),
                    client.post(f"{url}/v1/search", files={"tir": picture(1)}),
                )

        *found, refused = asyncio.run(ask_all())
        for n, response in enumerate(found):
            assert response.status_code == 200, response.text
            assert response.json()["hits"][0]["id"] == f"item-{n}"
        assert "takes any subset of" in refusal(refused, 422)["error"]
        with httpx.Client(trust_env=False, timeout=60) as client:
            big = client.post(f"{url}/v1/search", files={"rgb": b"x" * 9_000_000})
            refusal(big, 413)
            refusal(client.delete(f"{url}/v1/gallery/item-1"), 403)
            assert "<title>AnyReID" in client.get(f"{url}/").text
            writer = Retriever(retriever.run, Gallery.open(retriever.gallery.uri))
            writer.put([NewItem("late", {RGB: picture(70)})])
            deadline = time.monotonic() + 30
            while time.monotonic() < deadline:
                answer = client.post(f"{url}/v1/search", files={"rgb": picture(70)}).json()
                if answer["hits"][0]["id"] == "late":
                    break
                time.sleep(0.5)
            assert answer["hits"][0]["id"] == "late"
    finally:
        app.stop()
