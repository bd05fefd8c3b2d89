"""What the HTTP interface needs of a retriever: one of this process, or behind a Serve handle."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from reid.errors import AnyReIDError, ServiceError
from reid.modality import subset_name
from reid.retrieve.answers import NewItem, SearchQuery, SearchResult
from reid.retrieve.retriever import Retriever


class Core(Protocol):
    """What the interface needs of a retriever, wherever that lives. Errors are AnyReIDErrors."""

    async def search(self, query: SearchQuery) -> SearchResult:
        """Answer one query."""

    async def put(self, item: NewItem) -> int:
        """Embed and store one item; the gallery version that has it."""

    async def delete(self, item_id: str) -> int:
        """Remove one item for good; how many there were."""

    async def describe(self) -> dict[str, Any]:
        """Model, gallery and answerable subsets, as JSON."""


class LocalCore:
    """A retriever in this process, called in threads."""

    def __init__(self, retriever: Retriever) -> None:
        self.retriever = retriever

    async def search(self, query: SearchQuery) -> SearchResult:
        """Answer one query."""
        found = await asyncio.to_thread(self.retriever.search_many, [query])
        return found[0]

    async def put(self, item: NewItem) -> int:
        """Embed and store one item; the gallery version that has it."""
        return await asyncio.to_thread(self.retriever.put, [item])

    async def delete(self, item_id: str) -> int:
        """Remove one item for good; how many there were."""
        return await asyncio.to_thread(self.retriever.delete, [item_id])

    async def describe(self) -> dict[str, Any]:
        """Model, gallery and answerable subsets, as JSON."""
        return describe(self.retriever)


class HandleCore:
    """The `Core` of the ingress: calls the embedder deployment and turns its failures into ours."""

    def __init__(self, embedder: Any) -> None:
        self._embedder = embedder

    async def search(self, query: SearchQuery) -> SearchResult:
        """Answer one query."""
        found: SearchResult = await self._call("search", query)
        return found

    async def put(self, item: NewItem) -> int:
        """Embed and store one item; the gallery version that has it."""
        return int(await self._call("put", item))

    async def delete(self, item_id: str) -> int:
        """Remove one item for good; how many there were."""
        return int(await self._call("delete", item_id))

    async def describe(self) -> dict[str, Any]:
        """Model, gallery and answerable subsets."""
        return dict(await self._call("describe"))

    async def _call(self, method: str, *arguments: Any) -> Any:
        from ray.exceptions import RayActorError
        from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError

        try:
            found = await getattr(self._embedder, method).remote(*arguments)
        except BackPressureError:
            raise ServiceError("Too many requests wait.") from None
        except (DeploymentUnavailableError, RayActorError):
            raise ServiceError("The embedder is starting anew.") from None
        if isinstance(found, AnyReIDError):
            raise found
        return found


def describe(retriever: Retriever) -> dict[str, Any]:
    """What a client may ask: the model, the gallery, and {query subset: gallery subset}."""
    model = retriever.run.model
    return {
        "model": {
            "name": retriever.run.config.model.name,
            "run": retriever.run.config.name,
            "fingerprint": retriever.run.fingerprint,
            "regime": model.regime.value,
            "query_modalities": subset_name(model.query_modalities).split("+"),
            "labels": {m.value: m.entry.title for m in model.query_modalities},
            "auxiliary": {
                name: None if made_by is None else made_by.get("generator")
                for name, made_by in retriever.inputs.record.items()
            },
        },
        "gallery": {
            "items": retriever.size,
            "version": retriever.version,
            "subsets": list(retriever.gallery.subsets),
            "search": retriever.mode,
        },
        "answers": retriever.answerable(),
        "calibrated": retriever.calibration is not None,
        "calibration": _calibration(retriever),
    }


def _calibration(retriever: Retriever) -> dict[str, Any]:
    """What probabilities rest on, and which false-positive rates may be asked of which pairing."""
    found = retriever.calibration
    if found is None:
        return {"why_not": retriever.run.folder.why_uncalibrated}
    return {
        "protocol": found.protocol,
        "identities": found.identities,
        "prior": retriever.prior,
        "fpr": {pair.name: [point.fpr for point in pair.verification] for pair in found.pairings},
    }
