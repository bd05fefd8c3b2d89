"""Files of a leaderboard: results.json, table.md, and one page without scripts and external files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reid import storage
from reid.evaluate.report.pages import environment
from reid.evaluate.report.results import percent
from reid.studies.leaderboard.table import VERSION, LeaderboardTable, TrackCell, interval_text

_PACKAGE = "reid.studies.leaderboard"
Origin = dict[str, str]
"""What the numbers were made by: "command", "commit", "data"."""


def write_leaderboard(uri: str, tables: Sequence[LeaderboardTable], origin: Origin) -> None:
    """Write all three files into a folder."""
    result = {
        "version": VERSION,
        "benchmark": tables[0].benchmark.model_dump(mode="json"),
        "origin": origin,
        "tables": [table.to_dict() for table in tables],
        "runs": [run.to_dict() for run in tables[0].runs],
    }
    storage.write_json(storage.join(uri, "results.json"), result)
    storage.write_bytes(storage.join(uri, "table.md"), markdown(tables, origin).encode())
    storage.write_bytes(storage.join(uri, "leaderboard.html"), page(tables, origin).encode())


def text_lines(tables: Sequence[LeaderboardTable]) -> list[str]:
    """For a terminal: the tables and what they say."""
    found: list[str] = []
    for table in tables:
        found += [f"budget: {table.budget}", *_aligned(table.grid()), ""]
        found += [*_aligned(table.difference_grid()), "", *table.sentences(), ""]
    return found


def markdown(tables: Sequence[LeaderboardTable], origin: Origin) -> str:
    """The content of table.md."""
    spec = tables[0].benchmark
    lines = [f"# Leaderboard: {spec.name}", "", spec.about, ""]
    for table in tables:
        lines += [f"## Equal {table.budget}", "", *_table(table.grid()), ""]
        lines += [*_table(table.difference_grid()), ""]
        lines += [*(f"* {said}" for said in table.sentences()), ""]
    lines += ["## How to read it", "", *(f"* {note}" for table in tables for note in table.notes()[:1])]
    lines += [*(f"* {note}" for note in tables[0].notes()[1:]), ""]
    lines += [*(f"* {name}: `{value}`" for name, value in origin.items())]
    return "\n".join(lines) + "\n"


def page(tables: Sequence[LeaderboardTable], origin: Origin) -> str:
    """The content of leaderboard.html; all texts are escaped."""
    spec = tables[0].benchmark
    return (
        environment(_PACKAGE)
        .get_template("leaderboard.html.j2")
        .render(
            spec=spec,
            tables=[
                {
                    "budget": table.budget,
                    "rows": [_row(table, system.name) for system in spec.systems],
                    "chance": [table.chance(track) for track in spec.tracks],
                    "sentences": table.sentences(),
                    "note": table.notes()[0],
                }
                for table in tables
            ],
            notes=tables[0].notes()[1:],
            origin=origin,
            percent=percent,
        )
    )


def _row(table: LeaderboardTable, system: str) -> dict[str, Any]:
    cells = [table.cell(system, track) for track in table.benchmark.tracks]
    best = [table.ranking(track)[:1] == [system] for track in table.benchmark.tracks]
    costs = next(row for row in table.grid() if row[0] == system)[-3:]
    drawn = [_drawn(cell, first) for cell, first in zip(cells, best, strict=True)]
    return {"name": system, "cells": drawn, "costs": costs}


def _drawn(cell: TrackCell, best: bool) -> dict[str, Any]:
    """A cell with a bar from 0 to 100 %, and the interval on it."""
    found = cell.estimate
    return {
        "text": cell.text if found is None else percent(found.mean),
        "interval": None if found is None else f"{percent(found.low)}–{percent(found.high)}",
        "mean": None if found is None else round(100 * found.mean, 2),
        "low": None if found is None else round(100 * found.low, 2),
        "width": None if found is None else round(100 * (found.high - found.low), 2),
        "difference": None if cell.difference is None else interval_text(cell.difference, "+"),
        "sign": _sign(cell),
        "best": best,
    }


def _sign(cell: TrackCell) -> str:
    """Whether the difference to the baseline is beyond chance, as a style."""
    if cell.difference is None or not cell.difference.beyond_zero:
        return "even"
    return "right" if cell.difference.mean > 0 else "wrong"


def _aligned(grid: list[list[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in grid) for i in range(len(grid[0]))]
    return [
        "  ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in grid
    ]


def _table(grid: list[list[str]]) -> list[str]:
    head, *rows = [f"| {' | '.join(row)} |" for row in grid]
    return [head, f"|---|{'---:|' * (len(grid[0]) - 1)}", *rows]
