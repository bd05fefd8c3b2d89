"""The report of an evaluation: JSON for programs, Markdown for a repository, HTML for people.

Every form names the protocol, the exclusions, the skipped queries, the model and the data.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reid import storage
from reid.evaluate.report.html import render_html
from reid.evaluate.report.published import NOTE
from reid.evaluate.report.results import COMPANIONS_NOTE, Evaluation, percent

SHOWN = (1, 2, 3, 5, 10, 15, 20)
"""Ranks of the Markdown table of CMC points."""
FILES = ("report.json", "report.md", "report.html")


def render_json(evaluation: Evaluation) -> str:
    """report.json."""
    return json.dumps(evaluation.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def render_markdown(evaluation: Evaluation) -> str:
    """report.md: the table and its conditions, without ranked lists."""
    e = evaluation
    ranks = e.ranks
    header = ["Query → gallery", "mAP", *(f"R{k}" for k in ranks), "mINP", "Chance mAP / R1"]
    header += ["Queries", "Skipped", "Gallery"]
    run, dataset, split = (escape_markdown(x) for x in (e.run, e.dataset, e.split))
    lines = [
        f"# Evaluation of {run} on {dataset} ({split})",
        "",
        f"Protocol **{escape_markdown(e.protocol)}**. {escape_markdown(e.summary)}",
        f"Not counted: {escape_markdown('; '.join(e.exclusions)) or 'nothing'}.",
        "",
        f"| {' | '.join(header)} |",
        f"|---|{'---:|' * (len(header) - 1)}",
    ]
    for result in (*e.results, *e.baselines):
        n = result.numbers()
        chance = f"{percent(n['chance']['mAP'])} / {percent(n['chance'].get('R1'))}"
        cells = [escape_markdown(result.label), with_interval(n), *(percent(n.get(f"R{k}")) for k in ranks)]
        cells += [percent(n["mINP"]), chance, str(n["queries"]), str(n["skipped"])]
        lines.append(f"| {' | '.join([*cells, str(n['gallery_size'])])} |")
    for mean in e.averages:
        cells = [f"**{escape_markdown(mean.label)}**", percent(mean.numbers.get("mAP"))]
        cells += [*(percent(mean.numbers.get(f"R{k}")) for k in ranks), percent(mean.numbers.get("mINP"))]
        lines.append(f"| {' | '.join([*cells, *['–'] * 4])} |")
    for other in e.published:
        pair = other.query if other.query == other.gallery else f"{other.query} → {other.gallery}"
        cells = [f"*{escape_markdown(f'{other.label}: {pair} ({other.source}; {NOTE})')}*"]
        stated = [other.get("mAP"), *(other.get(f"R{k}") for k in ranks)]
        cells += ["–" if value is None else f"*{percent(value)}*" for value in stated]
        lines.append(f"| {' | '.join([*cells, *['–'] * 5])} |")
    lines += [
        "",
        "Numbers in %; mAP with its 95 % interval (bootstrap over identities) where known.",
    ]
    if e.companions:
        lines += ["", f"{COMPANIONS_NOTE} `{e.companions}`."]
    lines += _curves(e)
    lines += [*(f"\n> **Warning.** {escape_markdown(w)}" for w in e.warnings)]
    lines += [
        "",
        f"Model `{escape_markdown(e.model_fingerprint)}` · data `{escape_markdown(e.data_fingerprint)}`",
    ]
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


def with_interval(numbers: Mapping[str, Any]) -> str:
    """mAP in %, with ± over trials and the interval where there are such."""
    spread = (numbers.get("trials") or {"std": {}})["std"].get("mAP")
    shown = percent(numbers["mAP"]) + ("" if spread is None else f" ± {percent(spread)}")
    if numbers.get("mAP_interval") is None:
        return shown
    low, high = numbers["mAP_interval"]
    return f"{shown} ({percent(low)}–{percent(high)})"


def _curves(evaluation: Evaluation) -> list[str]:
    """CMC at more ranks than the main table."""
    if not evaluation.results:
        return []
    lines = ["", f"| CMC, first k | {' | '.join(map(str, SHOWN))} |", f"|---|{'---:|' * len(SHOWN)}"]
    for result in evaluation.results:
        curve = result.numbers()["cmc"]
        lines.append(
            f"| {' | '.join([escape_markdown(result.label), *(percent(curve[k - 1]) for k in SHOWN)])} |"
        )
    return lines


def escape_markdown(text: str) -> str:
    """Text that Markdown shows literally and on one line."""
    return re.sub(r"([\\`*_\[\]<>|#&])", r"\\\1", " ".join(text.split()))
