"""The results of an evaluation: rows of numbers, ranked lists, and their conditions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, TypeVar

from reid.config.protocols.spec import RANKS
from reid.evaluate.metrics.identity_scores import IdentityScores
from reid.evaluate.metrics.retrieval import RetrievalMetrics
from reid.evaluate.metrics.trials import TrialMetrics
from reid.evaluate.report.projection import Projection
from reid.evaluate.report.published import PublishedRow
from reid.evaluate.report.routing_map import RoutingMap
from reid.evaluate.report.similarity_histograms import Similarities
from reid.modality import PHOTO, Modality

VERSION = 1
"""Of the layout of report.json."""
CURVE = 20
"""Ranks of a CMC curve."""
COMPANIONS_NOTE = (
    "After @ stands what a query hangs on, after * how many samples of a modality it has, whose vectors are "
    "averaged. What accompanies each anchor is in companions.json, with SHA-256"
)
Key = TypeVar("Key", str, int)


@dataclass(frozen=True)
class SubsetResult:
    """A row of the table: a query subset against a gallery subset; `name` is set for a baseline."""

    query: str  # the subset, with anchor and numbers of samples where it has such: sketch*2+text@text
    gallery: str
    metrics: RetrievalMetrics
    gallery_size: int
    lacking_queries: int = 0  # samples of the query side without these modalities
    lacking_gallery: int = 0
    interval: tuple[float, float] | None = None  # of mAP, 95 %, bootstrap over identities
    name: str | None = None
    without_source: RetrievalMetrics | None = None  # where `metrics` keep what a query describes
    identities: IdentityScores | None = None  # what paired differences are drawn from

    @property
    def label(self) -> str:
        """What the row is called, e.g. "sketch → rgb"."""
        pair = self.query if self.query == self.gallery else f"{self.query} → {self.gallery}"
        return f"{self.name} ({pair})" if self.name else pair

    def numbers(self) -> dict[str, Any]:
        """Every number of the row, fractions in [0, 1]; None where no query counts."""
        m = self.metrics
        chance = {"mAP": m.chance_mAP, **{f"R{k}": m.chance_cmc(k) for k in m.ranks}}
        return {
            "query": self.query,
            "gallery": self.gallery,
            **({"name": self.name} if self.name else {}),
            **_means(m),
            "mAP_interval": None if self.interval is None else list(self.interval),
            "chance": _finite(chance),
            "cmc": list(_finite({k: m.cmc_at(k) for k in range(1, CURVE + 1)}).values()),
            "queries": m.queries,
            "skipped": m.skipped,
            "gallery_size": self.gallery_size,
            "lacking_queries": self.lacking_queries,
            "lacking_gallery": self.lacking_gallery,
            **({"trials": _trials(m)} if isinstance(m, TrialMetrics) else {}),
            **({"without_source": _means(self.without_source)} if self.without_source else {}),
        }


@dataclass(frozen=True)
class RowAverage:
    """The plain mean over a named group of rows; `rows` are their labels.

    A number is None where any of the rows has none.
    """

    name: str
    rows: tuple[str, ...]
    numbers: Mapping[str, float | None]

    @staticmethod
    def of(name: str, rows: Sequence[SubsetResult]) -> RowAverage:
        """The mean over these rows, of which there is one at least; of the metrics that all of them have."""
        each = [_means(row.metrics) for row in rows]
        shared = [metric for metric in each[0] if all(metric in numbers for numbers in each)]
        numbers: dict[str, float | None] = {}
        for metric in shared:
            values = [found[metric] for found in each]
            known = [value for value in values if value is not None]
            numbers[metric] = fmean(known) if len(known) == len(values) else None
        return RowAverage(name, tuple(row.label for row in rows), numbers)

    @property
    def label(self) -> str:
        """What the row is called."""
        return f"mean of {self.name} ({len(self.rows)} row{'s' if len(self.rows) > 1 else ''})"

    def to_dict(self) -> dict[str, Any]:
        """For report.json."""
        return {"name": self.name, "rows": list(self.rows), **self.numbers}


@dataclass(frozen=True)
class RankedItem:
    """An entry of a ranked list: a thumbnail (encoded image) or a caption, and whether it is a match."""

    shown: bytes | str
    pid: int
    score: float
    right: bool
    camid: int | None = None
    item_id: str | None = None


@dataclass(frozen=True)
class RankedList:
    """A query and its ranked items, best first; `first_hit` is the rank of the first match."""

    query: tuple[tuple[Modality, bytes | str], ...]  # every part, several of a modality among them
    pid: int
    results: tuple[RankedItem, ...]
    gallery: str = PHOTO.value
    camid: int | None = None
    query_id: str | None = None
    first_hit: int | None = None
    kind: str | None = None  # how the query was chosen: best, worst or random
    ap: float | None = None  # its average precision


@dataclass(frozen=True)
class Evaluation:
    """The contents of a report."""

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
    settings: Mapping[str, Any] | None = None  # the protocol's data
    sampling: str | None = None  # how galleries were drawn, in words
    rerank: Mapping[str, Any] | None = None  # parameters of k-reciprocal re-ranking, if it was used
    averages: tuple[RowAverage, ...] = ()  # over named groups of rows
    companions: str | None = None  # SHA-256 of the list of companions, where queries hang on an anchor
    missing: str | None = None  # the side whose modalities were left out, for a grid of subsets
    published: tuple[PublishedRow, ...] = ()  # of this system on this data set, by others
    similarities: tuple[Similarities, ...] = ()
    projection: Projection | None = None
    routing: tuple[RoutingMap, ...] = ()

    @property
    def ranks(self) -> tuple[int, ...]:
        """The CMC ranks that any row reports."""
        rows = (*self.results, *self.baselines)
        return tuple(sorted({k for row in rows for k in row.metrics.ranks})) or RANKS

    def missing_summary(self) -> dict[str, Any]:
        """{"side", "rows", "mAP", "R1"}: the mean over the rows of a grid that lack a modality."""
        full = max((len(_names(r)) for r in self.results), default=0)
        rows = [_means(r.metrics) for r in self.results if len(_names(r)) < full]
        known = {name: [r[name] for r in rows if r.get(name) is not None] for name in ("mAP", "R1")}
        means = {
            name: fmean(v for v in values if v is not None) if values else None
            for name, values in known.items()
        }
        return {"side": self.missing, "rows": len(rows), **means}

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
                **({"sampling": self.sampling} if self.sampling else {}),
                **({"companions": self.companions} if self.companions else {}),
                **({"settings": dict(self.settings)} if self.settings else {}),
            },
            **({"rerank": dict(self.rerank)} if self.rerank else {}),
            **({"missing": self.missing_summary()} if self.missing else {}),
            "model_fingerprint": self.model_fingerprint,
            "data_fingerprint": self.data_fingerprint,
            "results": [result.numbers() for result in self.results],
            "baselines": [result.numbers() for result in self.baselines],
            **({"averages": [mean.to_dict() for mean in self.averages]} if self.averages else {}),
            "published": [row.to_dict() for row in self.published],
            "warnings": list(self.warnings),
            "similarities": [one.to_dict() for one in self.similarities],
            "ranked": [_ranked_dict(ranked) for ranked in self.ranked],
        }


def percent(value: float | None) -> str:
    """0.1924 to "19.2"; a dash for None."""
    return "–" if value is None else f"{100 * value:.1f}"


def _means(m: RetrievalMetrics) -> dict[str, float | None]:
    """{"mAP", "R<k>" for each rank, "mINP"}; None where no query counts."""
    return _finite({"mAP": m.mAP, **{f"R{k}": m.cmc_at(k) for k in m.ranks}, "mINP": m.mINP})


def _trials(m: TrialMetrics) -> dict[str, Any]:
    """How many galleries, the spread of the means over them, and each one's values and counts."""
    return {
        "count": len(m.trials),
        "std": _finite(m.spread()),
        "values": {name: list(_finite(dict(enumerate(v))).values()) for name, v in m.values().items()},
        "queries": [t.queries for t in m.trials],
        "skipped": [t.skipped for t in m.trials],
    }


def _names(row: SubsetResult) -> list[str]:
    """Modalities of both sides, each with its side."""
    return [*row.query.partition("@")[0].split("+"), *row.gallery.split("+")]


def _finite(values: Mapping[Key, float]) -> dict[Key, float | None]:
    return {key: value if math.isfinite(value) else None for key, value in values.items()}


def _asked(query: Sequence[tuple[Modality, bytes | str]]) -> dict[str, Any]:
    """{modality: its sentence, or None for a picture}; a list of them where there are several."""
    found: dict[str, list[str | None]] = {}
    for modality, shown in query:
        found.setdefault(modality.value, []).append(shown if isinstance(shown, str) else None)
    return {name: parts if len(parts) > 1 else parts[0] for name, parts in found.items()}


def _ranked_dict(ranked: RankedList) -> dict[str, Any]:
    return {
        "query_id": ranked.query_id,
        "pid": ranked.pid,
        "camid": ranked.camid,
        "query": _asked(ranked.query),
        "gallery": ranked.gallery,
        "first_hit": ranked.first_hit,
        **({"kind": ranked.kind} if ranked.kind else {}),
        **({"ap": ranked.ap} if ranked.ap is not None else {}),
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
