"""The report of an evaluation: report.json for programs, report.md for a repository, report.html for people.

Every form says by which protocol and exclusions the numbers came about, how many queries were skipped,
and of which model and data they speak.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reid import storage
from reid.evaluate.metrics import RetrievalMetrics
from reid.modality import Modality

VERSION = 1
FILES = ("report.json", "report.md", "report.html")


@dataclass(frozen=True)
class SubsetResult:
    """One row of the table: a query subset against a gallery subset. `name` is set for a baseline."""

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
    """One entry of a ranked list: a thumbnail (encoded image) or a caption, and whether it is right."""

    shown: bytes | str
    pid: int
    score: float
    right: bool
    camid: int | None = None
    item_id: str | None = None


@dataclass(frozen=True)
class RankedList:
    """A query with what was found for it, best first. `first_hit` is the rank of the first right one."""

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


def render_json(evaluation: Evaluation) -> str:
    """report.json."""
    return json.dumps(evaluation.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def render_markdown(evaluation: Evaluation) -> str:
    """report.md: the table and what it rests on, without ranked lists."""
    e = evaluation
    ranks = report_ranks(e)
    header = ["Query → gallery", "mAP", *(f"R{k}" for k in ranks), "mINP", "Chance mAP / R1"]
    header += ["Queries", "Skipped", "Gallery"]
    lines = [
        f"# Evaluation of {_plain(e.run)} on {_plain(e.dataset)} ({_plain(e.split)})",
        "",
        f"Protocol **{_plain(e.protocol)}**. {_plain(e.summary)}",
        f"Not counted: {_plain('; '.join(e.exclusions)) or 'nothing'}.",
        "",
        f"| {' | '.join(header)} |",
        f"|---|{'---:|' * (len(header) - 1)}",
    ]
    for result in (*e.results, *e.baselines):
        n = result.numbers()
        chance = f"{percent(n['chance']['mAP'])} / {percent(n['chance'].get('R1'))}"
        cells = [_plain(result.label), _with_interval(n), *(percent(n.get(f"R{k}")) for k in ranks)]
        cells += [percent(n["mINP"]), chance, str(n["queries"]), str(n["skipped"])]
        lines.append(f"| {' | '.join([*cells, str(n['gallery_size'])])} |")
    lines += [
        "",
        "Numbers in %; mAP with its 95 % interval (bootstrap over identities) where known.",
    ]
    lines += [*(f"\n> **Warning.** {_plain(w)}" for w in e.warnings)]
    lines += ["", f"Model `{_plain(e.model_fingerprint)}` · data `{_plain(e.data_fingerprint)}`"]
    return "\n".join(lines) + "\n"


def write_report(evaluation: Evaluation, folder: str | Path) -> dict[str, str]:
    """Write report.json, report.md and report.html below a local or s3:// folder; {file name: uri}.

    Raises DataError for a picture that is not JPEG, PNG or WebP, StorageError for an unwritable folder.
    """
    from reid.evaluate.html import render_html

    where = storage.absolute(folder)
    forms = (render_json(evaluation), render_markdown(evaluation), render_html(evaluation))
    storage.make_dir(where)
    uris = {name: storage.join(where, name) for name in FILES}
    for uri, text in zip(uris.values(), forms, strict=True):
        storage.write_bytes(uri, text.encode())
    return uris


def percent(value: float | None) -> str:
    """0.1924 to "19.2"; a dash for None."""
    return "–" if value is None else f"{100 * value:.1f}"


def report_ranks(evaluation: Evaluation) -> list[int]:
    """The CMC ranks that any row reports."""
    rows = (*evaluation.results, *evaluation.baselines)
    return sorted({k for row in rows for k in row.metrics.ranks})


def _with_interval(numbers: dict[str, Any]) -> str:
    shown = percent(numbers["mAP"])
    if numbers["mAP_interval"] is None:
        return shown
    low, high = numbers["mAP_interval"]
    return f"{shown} ({percent(low)}–{percent(high)})"


def _finite(values: dict[str, float]) -> dict[str, float | None]:
    return {key: value if math.isfinite(value) else None for key, value in values.items()}


def _plain(text: str) -> str:
    """Text that Markdown shows as it is and on one line."""
    return re.sub(r"([\\`*_\[\]<>|#&])", r"\\\1", " ".join(text.split()))


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
