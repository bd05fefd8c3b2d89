"""The deployment: one process holds the HTTP interface, the model and the gallery."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict
from ray import serve

from pipelines.placement.devices import device_here
from pipelines.serve.api import audit, make_api
from pipelines.serve.gate import Gate, Gated
from pipelines.serve.told_core import OtherReplicas, ToldCore
from reid.config import ServeConfig
from reid.retrieve.rehearsal import rehearse
from reid.retrieve.retriever import Retriever

STOP_MARGIN_S = 5.0
"""Seconds beyond a request's time limit that a replica waits for its last answers."""
_REFRESH_S = 2.0

log = logging.getLogger("anyreid.serve")


class ServeArgs(BaseModel):
    """Arguments of `pipelines.serve.app.build`, and of `applications[].args` in a Serve config file."""

    model_config = ConfigDict(extra="forbid")

    run: str
    gallery: str
    search: Literal["exact", "ann"] = "exact"
    serve: ServeConfig = ServeConfig()


def ongoing_requests(settings: ServeConfig) -> int:
    """Requests that a replica holds: a batch cannot grow beyond them."""
    return max(settings.max_ongoing_requests, 2 * settings.batch_size)


@serve.ingress()
class Endpoint:
    """Reads requests, embeds and searches in batches, and follows the gallery's versions.

    A second process for the model would cost each request a call between processes, which takes longer than
    its share of a batch.
    """

    def __init__(self, args: dict[str, Any]) -> None:
        from reid.gallery.store import Gallery
        from reid.runs.run import load_run

        checked = ServeArgs.model_validate(args)
        self._config = checked.serve
        _log_to_stderr()
        gpus = float(checked.serve.gpus_per_replica)  # `build` has put a number in place of auto
        run = load_run(checked.run, device_here(gpus, "serve.gpus_per_replica"))
        self._retriever = Retriever(run, Gallery.open(checked.gallery), checked.search, checked.serve.prior)
        self._retriever.warm()
        rehearse(self._retriever)
        waiting = ongoing_requests(self._config)
        self._core = ToldCore(self._retriever, self._config.batch_size, waiting, OtherReplicas("refresh"))
        self._gate = Gate()
        self._retriever.refresh()  # what was written while it started
        threading.Thread(target=self._follow, name="gallery-refresh", daemon=True).start()

    def __serve_build_asgi_app__(self) -> Any:
        api = make_api(self._core, self._config)
        api.add_middleware(Gated, gate=self._gate)
        return api

    async def close(self) -> int:
        """Let no more requests in and wait for those that are; how many are left after their time limit."""
        return await self._gate.close(self._config.request_timeout_s + STOP_MARGIN_S)

    async def refresh(self) -> str:
        """Search the newest version of the gallery from now on; the id of this replica."""
        await asyncio.to_thread(self._retriever.refresh)
        return str(serve.get_replica_context().replica_id.unique_id)

    def check_health(self) -> None:
        """Raise, and so be replaced, once a batch failed for another reason than its queries."""
        if self._core.broken is not None:
            raise RuntimeError(f"embedding failed: {self._core.broken}")

    def _follow(self) -> None:
        while True:
            time.sleep(_REFRESH_S)
            try:
                if self._retriever.refresh():
                    log.info("gallery version %s", self._retriever.version)
            except Exception:
                # Storage may come back; until then the loaded version goes on answering.
                log.exception("the gallery cannot be refreshed")


def _log_to_stderr() -> None:
    """Write audit lines and our own log to the replica's stderr, which Ray collects."""
    for logger in (audit, log):
        if not logger.handlers:
            handler = logging.StreamHandler()
            handler.setFormatter(logging.Formatter("%(name)s %(message)s"))
            logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
