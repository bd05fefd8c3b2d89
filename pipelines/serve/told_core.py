"""Changes of the gallery that every replica has seen before they are acknowledged."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from pipelines.serve.core import BatchingCore
from reid.errors import ServiceError
from reid.retrieve.answers import NewItem
from reid.retrieve.retriever import Retriever

TOLD_S = 30.0
"""Seconds within which the other replicas must have loaded a change."""
_AGAIN_S = 0.05

log = logging.getLogger("anyreid.serve")


class ToldCore(BatchingCore):
    """A `BatchingCore` that acknowledges a change once all replicas search the changed gallery.

    So whoever was told that an item is deleted never finds it again, whichever replica answers.

    Args:
        retriever, size, waiting: as for `BatchingCore`.
        tell: makes all replicas load the newest version; raises ServiceError if one did not.
    """

    def __init__(
        self, retriever: Retriever, size: int, waiting: int, tell: Callable[[], Awaitable[None]]
    ) -> None:
        super().__init__(retriever, size, waiting)
        self._tell = tell

    async def put(self, item: NewItem) -> int:
        """Embed and store one item, for all replicas; the gallery version that has it."""
        version = await super().put(item)
        await self._tell()
        return version

    async def delete(self, item_id: str) -> int:
        """Remove one item for good, from all replicas; how many there were."""
        removed = await super().delete(item_id)
        await self._tell()
        return removed


class OtherReplicas:
    """Calls a method on all replicas of the deployment that this process is one of."""

    def __init__(self, method: str) -> None:
        self._method = method
        self._handle: DeploymentHandle[object] | None = None

    async def __call__(self) -> None:
        """Raises ServiceError when a replica did not answer within `TOLD_S` or failed.

        The method returns the id of its replica. Serve learns of replicas by and by: they are all told once
        this one is among them.
        """
        here = serve.get_replica_context()
        if self._handle is None:
            self._handle = serve.get_deployment_handle(here.deployment, here.app_name)
        ends = time.monotonic() + TOLD_S
        while time.monotonic() < ends:
            try:
                told = await self._handle.broadcast(self._method).results_async(timeout_s=TOLD_S)
            except (RayError, RayServeException, TimeoutError) as error:
                log.warning("a replica was not told of a change: %s", error)
            else:
                if here.replica_id.unique_id in told:
                    return
            await asyncio.sleep(_AGAIN_S)
        raise ServiceError("It is stored, but a replica has not loaded it yet.")
