"""Request headers of Serve's own that no client may use, taken out before Serve reads them.

Serve lets a caller choose its time limit: `x-request-timeout-seconds: 0` switches `serve.request_timeout_s`
off, and `x-request-disconnect-disabled` keeps a request alive whose client has gone. A few such clients
that send their bodies slowly hold every place of a replica.

Serve calls `middlewares` in the process of each HTTP proxy (with direct ingress: of each ingress replica),
because `VARIABLE` names it there. The variable is read once, when such a process starts.
"""

from __future__ import annotations

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

VARIABLE = "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"
TIMEOUT_HEADER = "x-request-timeout-seconds"
REFUSED = frozenset({TIMEOUT_HEADER.encode(), b"x-request-disconnect-disabled"})


class WithoutServeHeaders:
    """ASGI middleware that hands a request on without the headers in `REFUSED`."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = scope.get("headers", ())
        if any(name.lower() in REFUSED for name, _ in headers):
            kept = [(name, value) for name, value in headers if name.lower() not in REFUSED]
            scope = {**scope, "headers": kept}
        await self.app(scope, receive, send)


def middlewares() -> list[Middleware]:
    """What Serve puts around its HTTP servers."""
    return [Middleware(WithoutServeHeaders)]


IMPORT_PATH = f"{__name__}:{middlewares.__name__}"
"""The value of `VARIABLE`."""
