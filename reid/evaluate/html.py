"""report.html: one self-contained page, without scripts and with nothing fetched from elsewhere."""

from __future__ import annotations

import base64
from typing import Any

from reid.errors import DataError
from reid.evaluate.results import Evaluation, RankedList, SubsetResult, percent

_SIGNATURES = {b"\xff\xd8\xff": "jpeg", b"\x89PNG\r\n\x1a\n": "png", b"RIFF": "webp"}


def render_html(evaluation: Evaluation) -> str:
    """The page, all texts escaped. Raises DataError for a picture not JPEG, PNG or WebP."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("reid.evaluate", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = percent
    rows = [_row(result) for result in evaluation.results]
    return environment.get_template("report.html.j2").render(
        e=evaluation,
        ranks=evaluation.ranks,
        rows=rows,
        baselines=[_row(result) for result in evaluation.baselines],
        best=max(rows, key=lambda row: row["n"]["mAP"] or 0.0, default=None),
        lacking=[r for r in rows if r["n"]["lacking_queries"] or r["n"]["lacking_gallery"]],
        skipped=sum(row["n"]["skipped"] for row in rows),
        ranked=[_list(ranked) for ranked in evaluation.ranked],
    )


def image_uri(data: bytes) -> str:
    """A data: uri of an encoded picture. Raises DataError unless it is JPEG, PNG or WebP."""
    for signature, kind in _SIGNATURES.items():
        if data.startswith(signature):
            return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    raise DataError("A picture of a report must be JPEG, PNG or WebP; this one is none of them.")


def _row(result: SubsetResult) -> dict[str, Any]:
    numbers = result.numbers()
    low, high = numbers["mAP_interval"] or (None, None)
    return {"label": result.label, "n": numbers, "low": low, "high": high}


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
