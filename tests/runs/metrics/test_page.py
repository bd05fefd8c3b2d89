"""The page of curves: its numbers are the tables', it needs nothing else, and no text breaks out of it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from reid.runs.metrics.page import render_curves, thinned
from reid.runs.metrics.records import RunRecord, find_runs
from tests.support.metric_tables import write_metrics


def data_of(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    return data


def two(tmp_path: Path) -> list[RunRecord]:
    write_metrics(tmp_path / "mine/a", level=0.4, lr=1)
    write_metrics(tmp_path / "mine/b", level=0.6, lr=2, ends=None, epochs=2)
    return find_runs(str(tmp_path / "mine"))


def test_every_number_of_a_curve_is_one_of_the_table(tmp_path: Path) -> None:
    records = two(tmp_path)
    data = data_of(render_curves(records))
    drawn = {
        (chart["metric"], curve["run"]): list(zip(curve["x"], curve["y"], strict=True))
        for _, charts in data["groups"]
        for chart in charts
        for curve in chart["curves"]
    }
    for number, record in enumerate(records):
        for name in ("val/mAP", "loss", "loss/id", "lr", "rows_per_s", "stat/block3/dead"):
            assert drawn[name, number] == record.table.series(name)
    assert [title for title, _ in data["groups"]] == [
        "Validation",
        "Losses",
        "Learning rate and gradient",
        "Throughput",
        "Routers: dead experts and entropy",
    ]


def test_a_router_is_drawn_by_expert_in_the_order_of_its_layers(tmp_path: Path) -> None:
    records = two(tmp_path)
    routers = data_of(render_curves(records))["routers"]
    assert [(r["run"], r["name"]) for r in routers] == [
        (0, "block3"),
        (0, "block11"),
        (1, "block3"),
        (1, "block11"),
    ]
    assert [load[0] for load in routers[0]["loads"]] == [
        records[0].table.steps()[0][f"stat/block3/load/{e}"] for e in range(4)
    ]


def test_differences_stand_on_top_and_nothing_is_loaded(tmp_path: Path) -> None:
    page = render_curves(two(tmp_path))
    assert page.index("train.lr") < page.index('id="charts"')
    assert not re.search(r"(src|href)=|https?://(?!www\.w3\.org/2000/svg)|@import|url\(", page)
    assert "default-src 'none'" in page


def test_texts_are_escaped(tmp_path: Path) -> None:
    write_metrics(tmp_path / "x/a", note="</script><script>alert(1)</script>")
    write_metrics(tmp_path / "x/b", note="<b>")
    page = render_curves(find_runs(str(tmp_path / "x")))
    assert page.count("<script") == 2
    assert "<b>&lt;b" not in page and "&lt;b&gt;" in page


def test_long_series_keep_their_extremes(tmp_path: Path) -> None:
    points = [(n, float(n % 97)) for n in range(100_000)]
    points[43_210] = (43_210, 1e6)
    kept = thinned(points)
    assert len(kept) <= 1200
    assert set(kept) <= set(points)
    assert (43_210, 1e6) in kept and kept[-1] == points[-1]
    assert kept == sorted(kept)
