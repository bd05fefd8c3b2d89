"""What the HTTP interface needs of a retriever, and the retrievers of this process that give it."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from pipelines.serve.batcher import Batcher
from reid.errors import AnyReIDError
from reid.modality import subset_name
from reid.retrieve.answers import NewItem, SearchQuery, SearchResult
from reid.retrieve.retriever import Retriever


class Core(Protocol):
    """What the interface needs of a retriever. Errors are AnyReIDErrors."""

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


class BatchingCore(LocalCore):
    """A retriever in this process whose searches are answered in batches.

    Args:
        retriever: what embeds and searches.
        size: searches that are embedded together, at most.
        waiting: searches that may wait; one more is refused with a ServiceError.
    """

    def __init__(self, retriever: Retriever, size: int, waiting: int) -> None:
        super().__init__(retriever)
        self.broken: Exception | None = None
        self._batcher: Batcher[SearchQuery, SearchResult | AnyReIDError] = Batcher(
            self._answer, size, waiting
        )

    async def search(self, query: SearchQuery) -> SearchResult:
        """Answer one query as part of a batch; what one query lacks is its own error, not everyone's."""
        found = await self._batcher.submit(query)
        if isinstance(found, AnyReIDError):
            raise found
        return found

    def _answer(self, queries: list[SearchQuery]) -> list[SearchResult | AnyReIDError]:
        try:
            return self.retriever.search_each(queries)
        except Exception as error:
            # Nothing that a query holds should get here: a lost GPU does, and needs a new process.
            self.broken = error
            raise


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
