"""Clients of the endpoint without a server, and what each of its refusals has."""

from __future__ import annotations

from typing import Any

from fastapi.testclient import TestClient

from pipelines.serve.api import make_api
from pipelines.serve.core import LocalCore
from reid.config import ServeConfig
from reid.retrieve.retriever import Retriever

TOKEN = "correct-horse"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


def client_of(retriever: Retriever, **settings: Any) -> TestClient:
    return TestClient(make_api(LocalCore(retriever), ServeConfig(**settings)))


def refusal(response: Any, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    body = response.json()
    assert set(body) == {"error", "field", "remedy"}
    assert "Traceback" not in response.text
    return dict(body)
