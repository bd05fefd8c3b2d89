"""What an evaluation found: rows of numbers, ranked lists, and what they rest on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from reid.evaluate.metrics import RANKS, RetrievalMetrics
from reid.modality import Modality

VERSION = 1
"""Of the layout of report.json."""


@dataclass(frozen=True)
class SubsetResult:
    """A row of the table: a query subset against a gallery subset; `name` is set for a baseline."""

    query: str
    gallery: str
    metrics: RetrievalMetrics
    gallery_size: int
    lacking_queries: int = 0  # samples of the query side without these modalities
    lacking_gallery: int = 0
    interval: tuple[float, float] | None = None  # of mAP, 95 %, bootstrap over identities
    name: str | None = None

    @property
    def label(self) -> str:
        """What the row is called, e.g. "sketch → rgb"."""
        pair = self.query if self.query == self.gallery else f"{self.query} → {self.gallery}"
        return f"{self.name} ({pair})" if self.name else pair

    def numbers(self) -> dict[str, Any]:
        """Every number of the row, fractions in [0, 1]; None where no query counts."""
        m = self.metrics
        means = {"mAP": m.mAP, **{f"R{k}": m.cmc_at(k) for k in m.ranks}, "mINP": m.mINP}
        chance = {"mAP": m.chance_mAP, **{f"R{k}": m.chance_cmc(k) for k in m.ranks}}
        return {
            "query": self.query,
            "gallery": self.gallery,
            **({"name": self.name} if self.name else {}),
            **_finite(means),
            "mAP_interval": None if self.interval is None else list(self.interval),
            "chance": _finite(chance),
            "queries": m.queries,
            "skipped": m.skipped,
            "gallery_size": self.gallery_size,
            "lacking_queries": self.lacking_queries,
            "lacking_gallery": self.lacking_gallery,
        }


@dataclass(frozen=True)
class Found:
    """An entry of a ranked list: a thumbnail (encoded image) or a caption, and if it is right."""

    shown: bytes | str
    pid: int
    score: float
    right: bool
    camid: int | None = None
    item_id: str | None = None


@dataclass(frozen=True)
class RankedList:
    """A query and what was found for it, best first; `first_hit` ranks the first right one."""

    query: tuple[tuple[Modality, bytes | str], ...]
    pid: int
    results: tuple[Found, ...]
    gallery: str = "rgb"
    camid: int | None = None
    query_id: str | None = None
    first_hit: int | None = None


@dataclass(frozen=True)
class Evaluation:
    """Everything that a report says."""

    run: str
    dataset: str
    split: str
    protocol: str
    summary: str
    exclusions: tuple[str, ...]
    model_fingerprint: str
    data_fingerprint: str
    results: tuple[SubsetResult, ...]
    baselines: tuple[SubsetResult, ...] = ()
    warnings: tuple[str, ...] = ()
    ranked: tuple[RankedList, ...] = ()

    @property
    def ranks(self) -> tuple[int, ...]:
        """The CMC ranks that any row reports."""
        rows = (*self.results, *self.baselines)
        return tuple(sorted({k for row in rows for k in row.metrics.ranks})) or RANKS

    def to_dict(self) -> dict[str, Any]:
        """The content of report.json: all but the pictures."""
        return {
            "version": VERSION,
            "run": self.run,
            "dataset": self.dataset,
            "split": self.split,
            "protocol": {
                "name": self.protocol,
                "summary": self.summary,
                "excluded": list(self.exclusions),
            },
            "model_fingerprint": self.model_fingerprint,
            "data_fingerprint": self.data_fingerprint,
            "results": [result.numbers() for result in self.results],
            "baselines": [result.numbers() for result in self.baselines],
            "warnings": list(self.warnings),
            "ranked": [_ranked_dict(ranked) for ranked in self.ranked],
        }


def percent(value: float | None) -> str:
    """0.1924 to "19.2"; a dash for None."""
    return "–" if value is None else f"{100 * value:.1f}"


def _finite(values: dict[str, float]) -> dict[str, float | None]:
    return {key: value if math.isfinite(value) else None for key, value in values.items()}


def _ranked_dict(ranked: RankedList) -> dict[str, Any]:
    return {
        "query_id": ranked.query_id,
        "pid": ranked.pid,
        "camid": ranked.camid,
        "query": {m.value: shown if isinstance(shown, str) else None for m, shown in ranked.query},
        "gallery": ranked.gallery,
        "first_hit": ranked.first_hit,
        "results": [
            {
                "item_id": found.item_id,
                "pid": found.pid,
                "camid": found.camid,
                "score": found.score,
                "right": found.right,
                **({"caption": found.shown} if isinstance(found.shown, str) else {}),
            }
            for found in ranked.results
        ],
    }
