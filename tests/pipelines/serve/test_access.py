"""Who may do what, how often, and what the audit log keeps of it."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from fastapi.testclient import TestClient

from pipelines.serve.limits import ApiError, RateLimiter
from reid.errors import ServiceError
from reid.retrieve.retriever import Retriever
from tests.support.retrieval.api_clients import BEARER, TOKEN, client_of, refusal
from tests.support.retrieval.filled_galleries import picture


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


@pytest.mark.usefixtures("token")
def test_labels_are_compared_as_everywhere(retriever: Retriever) -> None:
    client = client_of(retriever)
    files = {"rgb": picture(60), "nir": picture(61)}

    def put(name: str, **labels: str) -> Any:
        return client.put(f"/v1/gallery/{name}", files=files, data=labels, headers=BEARER)

    def best() -> tuple[str, int | None, int | None]:
        asked = {"top_k": "1", "gallery": "rgb+nir"}
        hit = client.post("/v1/search", files=files, data=asked).json()["hits"][0]
        return hit["id"], hit["pid"], hit["camid"]

    assert put("cafe\u0301 1 ", pid="nan", camid="unknown").json()["id"] == "café 1"
    assert best() == ("café 1", None, None)
    put("café 1", pid="7.0", camid="\uff12")
    assert best() == ("café 1", 7, 2)
    refused = refusal(put("Café 1"), 422)
    assert refused["field"] == "id" and "'Café 1' and the stored 'café 1'" in refused["error"]
    gone = refusal(client.delete("/v1/gallery/café1", headers=BEARER), 404)
    assert "the stored 'café 1' differ in spaces" in gone["error"]
    assert refusal(put("nan"), 422)["field"] == "id"
    posted = client.post("/v1/gallery", files={"rgb": picture(62)}, data={"id": "None"}, headers=BEARER)
    assert len(posted.json()["id"]) == 32, "as if no id were given"
    assert "empty query" in refusal(client.post("/v1/search", data={"text": "nan"}), 422)["error"]


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
