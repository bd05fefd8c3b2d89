"""Geometry of a report's figures: numbers become coordinates and SVG path data, which templates draw."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from reid.evaluate.report.pages import image_uri
from reid.evaluate.report.projection import Projection
from reid.evaluate.report.results import Evaluation, percent
from reid.evaluate.report.routing_map import RoutingMap
from reid.evaluate.report.similarity_histograms import Similarities
from reid.modality import ORDER

WIDTH, HEIGHT = 460.0, 280.0
LEFT, BOTTOM, TOP, RIGHT = 40.0, 28.0, 10.0, 10.0
COLOURS = 8
"""Of lines; the next ones repeat them with dashes."""
LINES = 16


def cmc_chart(curves: Sequence[tuple[str, Sequence[float | None]]]) -> dict[str, Any] | None:
    """CMC curves (label, values in [0, 1] from rank 1 on); None if none has values. At most LINES."""
    known = [(label, [v for v in values if v is not None]) for label, values in curves]
    drawn = [(label, values) for label, values in known if len(values) > 1]
    if not drawn:
        return None
    last = max(len(values) for _, values in drawn)

    def place(rank: int, value: float) -> tuple[float, float]:
        x = LEFT + (rank - 1) / (last - 1) * (WIDTH - LEFT - RIGHT)
        return x, TOP + (1 - value) * (HEIGHT - TOP - BOTTOM)

    lines = [
        {
            "label": label,
            "colour": i % COLOURS,
            "dashed": i >= COLOURS,
            "path": "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in map(place, range(1, last + 1), values)),
        }
        for i, (label, values) in enumerate(drawn[:LINES])
    ]
    return {
        "lines": lines,
        "left_out": len(drawn) - len(lines),
        "width": WIDTH,
        "height": HEIGHT,
        "left": LEFT,
        "right": WIDTH - RIGHT,
        "bottom": HEIGHT - BOTTOM,
        "x": [(place(rank, 0)[0], rank) for rank in range(1, last + 1) if rank == 1 or rank % 5 == 0],
        "y": [(place(1, share / 4)[1], 25 * share) for share in range(5)],
    }


def histogram_chart(found: Similarities, width: float = 320.0, height: float = 132.0) -> dict[str, Any]:
    """Both histograms as stepped areas, each scaled to its own number of pairs."""
    top, bottom = 6.0, height - 20
    shares = [_shares(found.positives), _shares(found.negatives)]
    most = max((max(s) for s in shares), default=0.0) or 1.0

    def area(values: Sequence[float]) -> str:
        step = width / len(values)
        steps = [
            f"V{bottom - v / most * (bottom - top):.1f}H{(i + 1) * step:.1f}" for i, v in enumerate(values)
        ]
        return f"M0 {bottom:.1f}{''.join(steps)}V{bottom:.1f}Z"

    middle = (found.low + found.high) / 2
    digits = max(2, min(6, 1 - math.floor(math.log10(found.high - found.low))))  # so that ticks differ
    return {
        "label": found.label,
        "width": width,
        "height": height,
        "bottom": bottom,
        "positives": area(shares[0]),
        "negatives": area(shares[1]),
        "pairs": (sum(found.positives), sum(found.negatives)),
        "of_queries": found.of_queries,
        "ticks": [
            (x, anchor, f"{value:.{digits}f}")
            for x, anchor, value in (
                (0, "start", found.low),
                (width / 2, "middle", middle),
                (width, "end", found.high),
            )
        ],
    }


def projection_chart(found: Projection, size: float = 480.0) -> dict[str, Any]:
    """Dots as one path a colour and side: grey ones first, the gallery below the queries."""
    colour = {pid: i for i, pid in enumerate(found.identities)}
    paths: dict[tuple[bool, int, bool], list[str]] = defaultdict(list)
    margin = 12.0
    for p in found.points:
        x, y = margin + p.x * (size - 2 * margin), margin + (1 - p.y) * (size - 2 * margin)
        paths[p.pid in colour, p.pid, p.query].append(f"M{x:.1f} {y:.1f}h0")
    groups: dict[tuple[bool, bool, int], dict[str, Any]] = {}
    for (coloured, pid, query), dots in paths.items():
        name = f"identity {pid}, {'query' if query else 'gallery'}" if coloured else "other identities"
        hue = round(colour[pid] * 360 / max(len(colour), 1)) if coloured else None
        key = (coloured, query, pid if coloured else -1)
        group = groups.setdefault(key, {"name": name, "hue": hue, "query": query, "path": ""})
        group["path"] += "".join(dots)
    return {
        "label": found.label,
        "size": size,
        "groups": [groups[key] for key in sorted(groups)],
        "points": len(found.points),
        "of": found.of,
        "explained": percent(found.explained),
        "coloured": len(colour),
    }


def heat_map(evaluation: Evaluation) -> dict[str, Any] | None:
    """mAP by query and gallery subset; by subset alone where there is no grid. None below two rows."""
    rows = {(r.query, r.gallery): r.numbers()["mAP"] for r in evaluation.results}
    known = [value for value in rows.values() if value is not None]
    if len(rows) < 2 or not known:
        return None
    low, high = min(known), max(known)
    queries, galleries = list(dict.fromkeys(q for q, _ in rows)), list(dict.fromkeys(g for _, g in rows))

    def cell(value: float | None) -> dict[str, Any]:
        depth = 0 if value is None else 12 + 76 * (value - low) / max(high - low, 1e-9)
        return {"text": percent(value), "depth": round(depth)}

    alike = all(q == g for q, g in rows)
    if len(queries) > 1 and len(galleries) > 1 and not alike:
        cells = [(q, [cell(rows[q, g]) if (q, g) in rows else None for g in galleries]) for q in queries]
        return {"galleries": galleries, "rows": cells, "parts": None}
    names = [q if alike or len(galleries) == 1 else g for q, g in rows]
    used = {part for name in names for part in _parts(name)}
    parts = [m.value for m in ORDER if m.value in used]
    listed = sorted(zip(names, rows.values(), strict=True), key=lambda row: (row[1] is None, -(row[1] or 0)))
    said = (
        "both sides"
        if alike
        else (f"against {galleries[0]}" if len(galleries) == 1 else f"asked by {queries[0]}")
    )
    return {
        "galleries": [],
        "parts": parts,
        "said": said,
        "rows": [(name, [part in _parts(name) for part in parts], cell(value)) for name, value in listed],
    }


def routing_pictures(maps: Sequence[RoutingMap]) -> list[dict[str, Any]]:
    """Each picture once, with a grid of patches a mixture; patches of one expert are one path."""
    pictures: dict[bytes, dict[str, Any]] = {}
    for one in maps:
        shown = pictures.setdefault(
            one.picture,
            {"image": image_uri(one.picture), "pid": one.pid, "modality": one.modality.value, "grids": []},
        )
        squares: Mapping[int, list[str]] = defaultdict(list)
        for i, expert in enumerate(one.experts):
            squares[expert].append(f"M{i % one.columns} {i // one.columns}h1v1h-1z")
        experts = [(e, "".join(squares[e]), len(squares[e])) for e in sorted(squares)]
        shown["grids"].append(
            {"mixture": one.mixture, "rows": one.rows, "columns": one.columns, "experts": experts}
        )
    return list(pictures.values())


def _parts(name: str) -> set[str]:
    """The modalities in the name of a query or a gallery."""
    plain = name.partition("@")[0]
    return {part.partition("*")[0] for kind in plain.split("|") for part in kind.split("+")}


def _shares(counts: Sequence[int]) -> list[float]:
    total = sum(counts) or 1
    return [n / total for n in counts]
