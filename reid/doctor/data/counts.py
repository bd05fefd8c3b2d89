"""Counts of a data set by split and role."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from reid.data.shards.schema import ROLES, SPLITS
from reid.doctor.data.source import ExaminedSample
from reid.modality import VISUAL

Counts = dict[str, dict[str, dict[str, Any]]]


def count(entries: Sequence[ExaminedSample]) -> Counts:
    """{split: {role: numbers}}; the role "all" counts every row once, query and gallery their own."""
    groups: dict[str, dict[str, list[ExaminedSample]]] = defaultdict(lambda: defaultdict(list))
    for entry in entries:
        for role in ("all", *(entry.sample.labels.roles or ())):
            groups[entry.split][role].append(entry)
    splits = [s for s in SPLITS if s in groups]
    return {
        split: {role: _numbers(groups[split][role]) for role in ("all", *ROLES) if role in groups[split]}
        for split in splits
    }


def _numbers(entries: Sequence[ExaminedSample]) -> dict[str, Any]:
    cameras = {e.sample.labels.camid for e in entries}
    known = {m.value: sum(m in e.sample.images for e in entries) for m in VISUAL}
    return {
        "captures": len(entries),
        "identities": len({e.identity for e in entries}),
        "cameras": len(cameras - {None}),
        "images": {m: n for m, n in known.items() if n},
        "captions": sum(len(e.sample.captions) for e in entries),
    }


def table(counts: Counts) -> list[str]:
    """The counts as aligned lines for a person."""
    images = [
        m.value for m in VISUAL if any(m.value in n["images"] for s in counts.values() for n in s.values())
    ]
    rows = [["", "captures", "identities", "cameras", *images, "captions"]]
    for split, roles in counts.items():
        for role, n in roles.items():
            numbers = [n["captures"], n["identities"], n["cameras"]]
            numbers += [*(n["images"].get(m, 0) for m in images), n["captions"]]
            rows.append([split if role == "all" else f"  {role}", *(f"{number:,}" for number in numbers)])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
