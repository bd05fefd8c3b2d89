"""The HTTP interface: a FastAPI application over any `Core`. It needs no Ray, nor do its tests."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import logging
import math
import os
import secrets
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.exceptions import HTTPException

from pipelines.serve.core import Core
from pipelines.serve.limits import (
    ApiError,
    BodyLimit,
    Form,
    RateLimiter,
    chance,
    check_images,
    check_token,
    read_form,
    whole_number,
)
from reid.config import ServeConfig
from reid.data.labels import is_nothing, tidy
from reid.errors import AnyReIDError, DataError, GalleryError, ServiceError, UsageError
from reid.modality import VISUAL, Modality, parse_subset, subset_name
from reid.retrieve.answers import FoundItem, NewItem, SearchQuery, SearchResult

audit = logging.getLogger("anyreid.audit")
log = logging.getLogger("anyreid.serve")

DEFAULT_TOP_K = 10
_QUERY_FIELDS = ("top_k", "gallery", "min_probability", "fpr", "prior")
_ITEM_FIELDS = ("id", "pid", "camid", "timestamp", "source")
_MAX_INT32, _MAX_INT64 = 2**31 - 1, 2**63 - 1


def make_api(core: Core, config: ServeConfig) -> FastAPI:
    """The application. Raises ServiceError if `serve.auth: all` is asked for without a token."""
    token = os.environ.get(config.token_env) or None
    if config.auth == "all" and token is None:
        raise ServiceError(f"serve.auth is 'all': set the token in {config.token_env} first.")
    api = FastAPI(title="AnyReID", docs_url=None, redoc_url=None, openapi_url=None)
    api.add_middleware(BodyLimit, limit=int(config.max_upload_mib * 2**20))
    _add_error_handlers(api)
    rates = RateLimiter(config.requests_per_minute)
    page = Path(__file__).with_name("page.html").read_text(encoding="utf-8")

    @contextlib.asynccontextmanager
    async def admitted(request: Request, event: str, mutating: bool) -> AsyncIterator[dict[str, Any]]:
        """Rate and token checks around a request, and its one line in the audit log."""
        client = request.client.host if request.client else "unknown"
        entry: dict[str, Any] = {"event": event, "client": client, "request": uuid.uuid4().hex}
        started = time.perf_counter()
        try:
            rates.check(client)
            if mutating or config.auth == "all":
                check_token(request, token, config.token_env)
            yield entry
            entry["status"] = 200
        except Exception as error:
            refusal = _as_api_error(error, entry["request"])
            entry |= {"status": refusal.status, "error": str(refusal), "field": refusal.field}
            raise refusal from None
        finally:
            entry["took_ms"] = round((time.perf_counter() - started) * 1000, 2)
            entry["at"] = datetime.now(UTC).isoformat(timespec="milliseconds")
            audit.info(json.dumps(entry, sort_keys=True))

    @api.get("/", response_class=HTMLResponse)
    async def index() -> HTMLResponse:
        nonce = secrets.token_urlsafe(16)
        return HTMLResponse(page.replace("{{nonce}}", nonce), headers=_page_headers(nonce))

    @api.get("/healthz")
    async def health() -> dict[str, Any]:
        try:
            found = await core.describe()
        except Exception as error:
            raise _as_api_error(error, "healthz") from None
        limits = {
            "top_k": config.max_top_k,
            "upload_mib": config.max_upload_mib,
            "pixels": config.max_pixels,
            "text_chars": config.max_text_chars,
            "requests_per_minute": config.requests_per_minute,
        }
        guarded = {"search": config.auth == "all", "gallery": "token" if token else "read-only"}
        return {"status": "ok", **found, "limits": limits, "auth": guarded}

    @api.post("/v1/search")
    async def search(request: Request) -> JSONResponse:
        started = time.perf_counter()
        async with admitted(request, "search", mutating=False) as entry:
            form = await read_form(request, config, _QUERY_FIELDS)
            query = _query(form, config)
            entry |= {"query": subset_name(query.parts), "top_k": query.k}
            await asyncio.to_thread(check_images, query.parts, config.max_pixels, query.mask)
            result = await core.search(query)
            entry |= {
                "query_subset": result.query_subset,
                "gallery_subset": result.gallery_subset,
                "ranked_by": result.ranked_by,
                "left_out": dict(result.left_out),
                "gallery_version": result.gallery_version,
                "hits": [h.id for h in result.hits],
                "nothing_confident": result.nothing_confident,
                "degraded": result.degraded,
            }
            body = result_json(result)
            body["took_ms"] = round((time.perf_counter() - started) * 1000, 2)
        return JSONResponse(body, headers={"Cache-Control": "no-store"})

    async def store(request: Request, item_id: str | None) -> dict[str, Any]:
        async with admitted(request, "gallery.put", mutating=True) as entry:
            form = await read_form(request, config, _ITEM_FIELDS)
            item = _new_item(form, item_id)
            entry |= {"id": item.id, "modalities": subset_name(item.parts)}
            notes = await asyncio.to_thread(check_images, item.parts, config.max_pixels, item.mask)
            entry["gallery_version"] = version = await core.put(item)
        return {"id": item.id, "gallery_version": version, "warnings": notes}

    @api.post("/v1/gallery")
    async def add(request: Request) -> dict[str, Any]:
        return await store(request, None)

    @api.put("/v1/gallery/{item_id:path}")
    async def replace(request: Request, item_id: str) -> dict[str, Any]:
        return await store(request, item_id)

    @api.delete("/v1/gallery/{item_id:path}")
    async def remove(request: Request, item_id: str) -> dict[str, Any]:
        async with admitted(request, "gallery.delete", mutating=True) as entry:
            entry["id"] = item_id
            try:
                entry["deleted"] = removed = await core.delete(item_id)
            except GalleryError as error:
                if "Item id" not in str(error):
                    raise
                raise ApiError(404, str(error), "id") from None
            if not removed:
                raise ApiError(404, f"No item {item_id[:80]!r}.", "id", "Ids are those of hits.")
        return {"id": item_id, "deleted": removed}

    return api


def result_json(result: SearchResult) -> dict[str, Any]:
    """A search result as JSON; thumbnails are base64 of a JPEG, or null."""
    return {**_fields(result), "left_out": dict(result.left_out), "hits": [_hit_json(h) for h in result.hits]}


def _hit_json(hit: FoundItem) -> dict[str, Any]:
    picture = None if hit.thumbnail is None else base64.b64encode(hit.thumbnail).decode()
    return {**_fields(hit), "thumbnail": picture}


def _fields(found: SearchResult | FoundItem) -> dict[str, Any]:
    """Its fields as they are; `dataclasses.asdict` would copy all that is in them, which takes long."""
    return {field.name: getattr(found, field.name) for field in fields(found)}


def _query(form: Form, config: ServeConfig) -> SearchQuery:
    if not form.parts:
        raise ApiError(
            422,
            "An empty query.",
            remedy=f"Send at least one of the fields {', '.join(VISUAL)} (files) or {Modality.TEXT}.",
        )
    k = whole_number(form.values, "top_k", 1, config.max_top_k)
    wanted = form.values.get("gallery")
    if wanted is not None:
        try:
            wanted = "|".join(subset_name(parse_subset(kind)) for kind in wanted.split("|"))
        except UsageError as error:
            raise ApiError(422, str(error), "gallery", "Spell it as in rgb+nir, or rgb|nir.") from None
    return SearchQuery(
        form.parts,
        min(DEFAULT_TOP_K, config.max_top_k) if k is None else k,
        wanted,
        min_probability=chance(form.values, "min_probability"),
        fpr=chance(form.values, "fpr"),
        prior=chance(form.values, "prior"),
        mask=form.mask,
    )


def _new_item(form: Form, item_id: str | None) -> NewItem:
    if not form.parts:
        raise ApiError(422, "An item without content.", remedy="Send at least one modality field.")
    given = form.values.get("id")
    if item_id is not None and given is not None and tidy(given) != tidy(item_id):
        raise ApiError(422, "The id in the form is not the one in the path.", "id")
    if item_id is not None and is_nothing(item_id):
        raise ApiError(422, f"The id {item_id!r} in the path stands for no name.", "id", "Name the item.")
    name = tidy(item_id or given or uuid.uuid4().hex)
    return NewItem(
        id=name,
        parts=form.parts,
        pid=whole_number(form.values, "pid", 0, _MAX_INT64),
        camid=whole_number(form.values, "camid", 0, _MAX_INT32),
        timestamp=_seconds(form.values.get("timestamp")),
        source=form.values.get("source", "http"),
        mask=form.mask,
    )


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ApiError(422, f"timestamp: {text[:40]!r} is not a number.", "timestamp", "Seconds since 1970.")
    return value


def _as_api_error(error: Exception, request: str) -> ApiError:
    """Any failure as a refusal that says no more than the client needs."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, UsageError | DataError):
        remedy = "GET /healthz lists under `answers` what can be asked of this server."
        return ApiError(422, str(error), remedy=remedy)
    if isinstance(error, ServiceError):
        return ApiError(503, str(error), remedy="Try again shortly.", headers={"Retry-After": "2"})
    if isinstance(error, GalleryError) and "Item id" in str(error):
        return ApiError(422, str(error), "id")
    log.error("request %s failed", request, exc_info=error)
    what = "The gallery cannot be used." if isinstance(error, AnyReIDError) else "Internal error."
    return ApiError(500, what, remedy=f"The server's log tells more about request {request}.")


def _add_error_handlers(api: FastAPI) -> None:
    async def refused(_: Request, error: Exception) -> Response:
        found = _as_api_error(error, "unknown")
        return JSONResponse(found.body(), status_code=found.status, headers=found.headers)

    async def unrouted(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        routes = "Routes: GET /, GET /healthz, POST /v1/search, POST /v1/gallery, "
        routes += "PUT and DELETE /v1/gallery/{id}."
        found = ApiError(error.status_code, str(error.detail), remedy=routes)
        return JSONResponse(found.body(), status_code=found.status, headers=error.headers)

    api.add_exception_handler(ApiError, refused)
    api.add_exception_handler(HTTPException, unrouted)


def _page_headers(nonce: str) -> dict[str, str]:
    policy: Sequence[str] = (
        "default-src 'none'",
        "connect-src 'self'",
        "img-src data: blob:",
        f"style-src 'nonce-{nonce}'",
        f"script-src 'nonce-{nonce}'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
    return {
        "Content-Security-Policy": "; ".join(policy),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
    }
