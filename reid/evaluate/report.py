"""The report of an evaluation: JSON for programs, Markdown for a repository, HTML for people.

Every form says by which protocol and exclusions the numbers came about, how many queries were
skipped, and of which model and data they speak.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from reid import storage
from reid.evaluate.html import render_html
from reid.evaluate.results import Evaluation, Found, RankedList, SubsetResult, percent

__all__ = [
    "Evaluation",
    "Found",
    "RankedList",
    "SubsetResult",
    "render_html",
    "render_json",
    "render_markdown",
    "write_report",
]

FILES = ("report.json", "report.md", "report.html")


def render_json(evaluation: Evaluation) -> str:
    """report.json."""
    return json.dumps(evaluation.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def render_markdown(evaluation: Evaluation) -> str:
    """report.md: the table and what it rests on, without ranked lists."""
    e = evaluation
    ranks = e.ranks
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
    """Write report.json, report.md and report.html to a local or s3:// folder; {file name: uri}.

    Raises DataError for a picture that is not JPEG, PNG or WebP, StorageError for a bad folder.
    """
    where = storage.absolute(folder)
    forms = (render_json(evaluation), render_markdown(evaluation), render_html(evaluation))
    storage.make_dir(where)
    uris = {name: storage.join(where, name) for name in FILES}
    for uri, text in zip(uris.values(), forms, strict=True):
        storage.write_bytes(uri, text.encode())
    return uris


def _with_interval(numbers: dict[str, Any]) -> str:
    shown = percent(numbers["mAP"])
    if numbers["mAP_interval"] is None:
        return shown
    low, high = numbers["mAP_interval"]
    return f"{shown} ({percent(low)}–{percent(high)})"


def _plain(text: str) -> str:
    """Text that Markdown shows as it is and on one line."""
    return re.sub(r"([\\`*_\[\]<>|#&])", r"\\\1", " ".join(text.split()))
