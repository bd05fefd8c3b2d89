"""Geometry of the statistics' figures: counts become SVG coordinates, which the template draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

WIDTH, HEIGHT = 340.0, 150.0
_TOP, _BOTTOM, _GAP = 14.0, 22.0, 1.5


def columns(
    edges: Sequence[float], counts: Sequence[int], whole: bool = True, mark: float | None = None
) -> dict[str, Any] | None:
    """A histogram of columns between `edges` (one more than counts); None unless it has two columns.

    `whole`: edges are whole numbers, and a column holds those from its edge up to the next. `mark` draws a
    line at a value.
    """
    most = max(counts, default=0)
    if not most or len(counts) < 2:
        return None
    base, low, high = HEIGHT - _BOTTOM, edges[0], edges[-1]
    width = WIDTH / len(counts)
    few = whole and len(counts) <= 12  # then a number stands below the middle of its column
    across = min(max(width - _GAP, 0.5), 44.0)
    drawn = []
    for i, count in enumerate(counts):
        tall = count / most * (base - _TOP)
        first, last = edges[i], edges[i + 1] - 1 if whole else edges[i + 1]
        label = _number(first) if whole and first >= last else f"{_number(first)} to {_number(last)}"
        drawn.append(
            {
                "x": (i + 0.5) * width - across / 2,
                "y": base - max(tall, 1.0 if count else 0.0),
                "width": across,
                "height": max(tall, 1.0 if count else 0.0),
                "title": f"{label}: {count:,}",
            }
        )
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "base": base,
        "columns": drawn,
        "most": f"{most:,}",
        "left": _number(low),
        "right": _number(edges[-2] if few else high - 1 if whole else high),
        "inset": width / 2 if few else 0.0,
        "mark": None if mark is None or not low <= mark <= high else (mark - low) / (high - low) * WIDTH,
    }


def meters(counts: Sequence[tuple[str, int]], shown: int = 24) -> dict[str, Any]:
    """Rows with a bar each, relative to the largest; at most `shown`, then how many are left out."""
    most = max((n for _, n in counts), default=0) or 1
    rows = [(name, f"{n:,}", 100 * n / most) for name, n in counts[:shown]]
    return {"rows": rows, "left_out": max(len(counts) - shown, 0)}


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"
