"""report.html: one self-contained page without scripts and external files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reid.evaluate.report.figures import (
    cmc_chart,
    heat_map,
    histogram_chart,
    projection_chart,
    routing_pictures,
)
from reid.evaluate.report.pages import environment, image_uri
from reid.evaluate.report.published import PublishedRow
from reid.evaluate.report.results import COMPANIONS_NOTE, Evaluation, RankedList, SubsetResult, percent


def render_html(evaluation: Evaluation) -> str:
    """The page, all texts escaped. Raises DataError for a picture not JPEG, PNG or WebP."""
    templates = environment()
    templates.filters["percent"] = percent
    rows = [_row(result) for result in evaluation.results]
    by_map = sorted(rows, key=lambda row: row["n"]["mAP"] or 0.0, reverse=True)
    published = published_cells(evaluation.published, evaluation.ranks)
    measured = {row["label"] for row in rows}
    return templates.get_template("report.html.j2").render(
        e=evaluation,
        ranks=evaluation.ranks,
        rows=rows,
        baselines=[_row(result) for result in evaluation.baselines],
        published=published,
        companions_note=COMPANIONS_NOTE,
        unmatched=[row for row in published if row["pair"] not in measured],
        best=by_map[0] if by_map else None,
        lacking=[r for r in rows if r["n"]["lacking_queries"] or r["n"]["lacking_gallery"]],
        skipped=sum(row["n"]["skipped"] for row in rows),
        ranked=[_list(ranked) for ranked in evaluation.ranked],
        cmc=cmc_chart([(row["label"], row["n"]["cmc"]) for row in by_map]),
        heat=heat_map(evaluation),
        distributions=[histogram_chart(found) for found in evaluation.similarities],
        projection=projection_chart(evaluation.projection) if evaluation.projection else None,
        routing=routing_pictures(evaluation.routing),
    )


def published_cells(rows: Sequence[PublishedRow], ranks: Sequence[int]) -> list[dict[str, Any]]:
    """Faint rows: a label, its source, and the columns that a table of these ranks has."""
    return [
        {
            "label": row.label,
            "pair": row.query if row.query == row.gallery else f"{row.query} → {row.gallery}",
            "source": row.source,
            "mAP": row.get("mAP"),
            "ranks": [(k, row.get(f"R{k}")) for k in ranks],
        }
        for row in rows
    ]


def _row(result: SubsetResult) -> dict[str, Any]:
    numbers = result.numbers()
    low, high = numbers["mAP_interval"] or (None, None)
    trials = numbers.get("trials") or {"std": {}, "count": 1}
    return {
        "label": result.label,
        "n": numbers,
        "low": low,
        "high": high,
        "std": trials["std"],
        "trials": trials["count"],
    }


def _list(ranked: RankedList) -> dict[str, Any]:
    shown_right = sum(found.right for found in ranked.results)
    return {
        "of": ranked,
        "query": [(m.value, _shown(shown)) for m, shown in ranked.query],
        "results": [(found, _shown(found.shown)) for found in ranked.results],
        "right": shown_right,
    }


def _shown(shown: bytes | str) -> dict[str, str]:
    return {"text": shown} if isinstance(shown, str) else {"image": image_uri(shown)}
