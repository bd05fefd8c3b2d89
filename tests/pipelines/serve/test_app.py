"""The endpoint: answers, refusals and limits without Ray; one slow test with Ray Serve itself."""

from __future__ import annotations

import base64
import io
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
from reid.config import ServeConfig
from reid.errors import ServiceError
from reid.gallery.store import Gallery
from reid.modality import Modality
from reid.retrieve.answers import NewItem, SearchQuery, SearchResult
from reid.retrieve.retriever import Retriever
from tests.support.retrieval.api_clients import BEARER, client_of, refusal
from tests.support.retrieval.filled_galleries import (
    RGB,
    fill,
    made_calibration,
    make_run,
    picture,
    retriever_of,
)


def test_search_answers_with_thumbnails_and_provenance(client: TestClient, retriever: Retriever) -> None:
    answer = client.post("/v1/search", files={"rgb": picture(3)}, data={"top_k": "2"})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["hits"][0]["id"] == "item-3"
    assert len(body["hits"]) == 2
    first = body["hits"][0]
    assert (first["pid"], first["camid"], first["modalities"]) == (1, 1, ["rgb"])
    assert Image.open(io.BytesIO(base64.b64decode(first["thumbnail"]))).format == "JPEG"
    assert (body["query_subset"], body["gallery_subset"]) == ("rgb", "rgb+nir|rgb")
    assert (first["compared_by"], body["ranked_by"], body["left_out"]) == ("rgb", "score", {})
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
        (b"not an image at all", "text, which is not taken"),
        (b"", "empty file"),
        (picture(1, (128, 256))[:-200] + b"\xff\xd9", "a part of the JPEG is lost"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "a PostScript file, which is not taken"),
    ],
)
def test_broken_picture_is_422_naming_the_field(client: TestClient, content: bytes, message: str) -> None:
    body = refusal(client.post("/v1/search", files={"rgb": ("a.jpg", content)}), 422)
    assert body["field"] == "rgb"
    assert message in body["error"]


@pytest.mark.parametrize("kind", ["GIF", "AVIF", "WEBP", "TIFF"])
def test_what_a_build_takes_is_taken(client: TestClient, kind: str) -> None:
    response = client.post("/v1/search", files={"rgb": (f"a.{kind.lower()}", picture(1, kind=kind))})
    assert response.status_code == 200, response.text
    assert response.json()["warnings"] == []


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(900), "a HEIC photo of a phone"),
        (picture(1, kind="JPEG2000"), "a JPEG 2000 picture"),
        (b"%PDF-1.7\n" + bytes(range(128, 200)), "a PDF"),
    ],
)
def test_a_known_format_that_is_not_taken_is_named_with_a_remedy(
    client: TestClient, content: bytes, name: str
) -> None:
    body = refusal(client.post("/v1/search", files={"rgb": ("photo.jpg", content)}), 422)
    assert (body["field"], body["error"]) == ("rgb", f"rgb: {name}, which is not taken.")
    assert body["remedy"].startswith("Save it as JPEG or PNG first. Formats: JPEG, PNG, WEBP")


def test_what_was_done_to_a_picture_or_text_is_in_the_answers_warnings(
    client: TestClient, token: None, retriever: Retriever
) -> None:
    hidden = Image.open(io.BytesIO(picture(1))).convert("RGB")
    hidden.putalpha(0)
    stream = io.BytesIO()
    hidden.save(stream, "PNG")
    frames = [Image.open(io.BytesIO(picture(n))) for n in range(2)]
    moving = io.BytesIO()
    frames[0].save(moving, "GIF", save_all=True, append_images=frames[1:])
    files = {"rgb": ("a.png", stream.getvalue()), "nir": ("a.gif", moving.getvalue())}
    told = [
        "rgb: its alpha hides it (largest value 0 of 255); the colours under it are shown.",
        "nir: it holds 2 pictures; the first one is taken.",
    ]
    assert client.post("/v1/search", files=files).json()["warnings"][:2] == told
    with client_of(retriever) as allowed:
        long = {"text": "a red coat and " * 30}
        (warning, *_) = allowed.post("/v1/search", data=long).json()["warnings"]
        assert warning.startswith("text: the first 75 of 120 tokens; the words from ")
        put = allowed.put("/v1/gallery/mine", files=files, data=long, headers=BEARER).json()
        assert set(put["warnings"]) == {*told, warning}


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
    most = sum(m.is_visual for m in Modality) + 1  # and a mask
    many = client.post("/v1/search", files=[(f"f{n}", picture(n)) for n in range(most + 1)])
    assert "Too many files" in refusal(many, 422)["error"]
    assert refusal(client.post("/v1/search", files={"text": b"words"}), 422)["field"] == "text"
    assert refusal(client.post("/v1/search", json={"text": "x"}), 415)
    assert refusal(client.post("/v1/search", data={"top_k": "3"}), 422)["error"] == "An empty query."
    gallery = client.post("/v1/search", data={"text": "x", "gallery": "rgb|rgbb"})
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
    assert body["answers"]["sketch+text"] == "rgb+nir|rgb"
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

    config = override(retriever.run.config, {"device": "cpu", "serve.port": 0, "serve.batch_size": 4})
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
            expected = [hit.id for hit in retriever.search({"rgb": picture(n)}).hits]
            assert [hit["id"] for hit in response.json()["hits"]] == expected
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
