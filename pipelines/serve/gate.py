"""The requests that an ingress replica holds, and how it stops: those are answered, newcomers are refused.

Serve deletes all deployments of an application at the same time. A request that is still being read then
would find no embedder any more; so the ingress empties itself first.
"""

from __future__ import annotations

import asyncio
import time

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from pipelines.serve.limits import ApiError

_CHECK_S = 0.05


class Gate:
    """Counts open requests; once closed, lets no more in. For one event loop."""

    def __init__(self) -> None:
        self.open_requests = 0
        self.closed = False

    async def close(self, timeout_s: float) -> int:
        """Refuse newcomers and wait for the open requests; how many are left after `timeout_s`."""
        self.closed = True
        ended = time.monotonic() + timeout_s
        while self.open_requests and time.monotonic() < ended:
            await asyncio.sleep(_CHECK_S)
        return self.open_requests


class Gated:
    """ASGI middleware that puts an application behind a gate."""

    def __init__(self, app: ASGIApp, gate: Gate) -> None:
        self.app = app
        self.gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # the lifespan lasts as long as the application
            await self.app(scope, receive, send)
            return
        if self.gate.closed:
            refusal = ApiError(503, "The endpoint is being stopped.", remedy="Try again shortly.")
            headers = {"Retry-After": "2", "Connection": "close"}
            await JSONResponse(refusal.body(), refusal.status, headers)(scope, receive, send)
            return
        self.gate.open_requests += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self.gate.open_requests -= 1
