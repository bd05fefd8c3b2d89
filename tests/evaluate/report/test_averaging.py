"""Several reports as one number: RegDB's ten splits, or seeds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reid.errors import UsageError
from reid.evaluate.report.averaging import average_lines, average_reports, write_average
from reid.evaluate.report.comparison import compare_reports, read_report


def report(split: int, first: float | None, **more: Any) -> dict[str, Any]:
    def row(query: str, value: float | None) -> dict[str, Any]:
        numbers = {"mAP": value, "R1": value, "mINP": value}
        chance = {"mAP": 0.1, "R1": 0.1}
        return {"query": query, "gallery": "rgb", **numbers, "chance": chance, "cmc": [value], "queries": 10}

    return {
        "version": 1,
        "run": "mixer (100 steps)",
        "dataset": "regdb",
        "split": "test",
        "protocol": {"name": "regdb", "settings": {"name": "regdb"}},
        "model_fingerprint": f"m{split}",
        "data_fingerprint": f"d{split}",
        "report": f"split{split}/report.json",
        "results": [row("tir", first), row("text", 0.5)],
        "averages": [{"name": "both ways", "rows": ["x"], "mAP": 0.25 * split, "R1": 0.5}],
        "warnings": ["Not calibrated."],
        **more,
    }


def test_each_row_is_the_mean_over_reports_with_its_spread(tmp_path: Path) -> None:
    average = average_reports([report(1, 0.2), report(2, 0.4), report(3, 0.6)])
    found = average["results"][0]
    assert (found["query"], found["mAP"], found["trials"]["count"]) == ("tir", pytest.approx(0.4), 3)
    assert found["trials"]["std"]["mAP"] == pytest.approx(0.2)
    assert found["trials"]["values"]["mAP"] == [0.2, 0.4, 0.6]
    assert average["averages"][0]["mAP"] == pytest.approx(0.5)
    assert average["warnings"] == ["Not calibrated."]
    files = write_average(average, tmp_path)
    assert "| tir → rgb | 40.0 ± 20.0 |" in Path(files["average.md"]).read_text()
    assert any(
        "mean of both ways" in line and "50.0 ± 25.0" in line for line in average_lines(average, files)
    )
    assert json.loads(Path(files["average.json"]).read_text()) == average


def test_a_mean_is_compared_like_a_report(tmp_path: Path) -> None:
    files = write_average(average_reports([report(1, 0.2), report(2, 0.4)]), tmp_path)
    (tmp_path / "one.json").write_text(json.dumps(report(3, 0.5)))
    both = compare_reports([read_report(files["average.json"]), read_report(str(tmp_path / "one.json"))])
    shown = {table.pair: [row.numbers["mAP"] for row in table.rows] for table in both.tables}
    assert shown["tir → rgb"] == [pytest.approx(0.3), 0.5]
    assert shown["mean of both ways"] == [pytest.approx(0.375), 0.75]  # means over groups of rows, too


def test_a_row_without_a_number_has_no_mean() -> None:
    assert average_reports([report(1, None), report(2, 0.4)])["results"][0]["mAP"] is None


@pytest.mark.parametrize(
    ("reports", "why"),
    [
        ([report(1, 0.2)], "two reports or more"),
        ([report(1, 0.2), report(1, 0.2)], "given twice"),
        ([report(1, 0.2), report(2, 0.2, dataset="llcm")], r"different data sets \(regdb, llcm\)"),
        ([report(1, 0.2), report(2, 0.2, protocol={"name": "roles"})], "different protocols"),
        (
            [report(1, 0.2), report(2, 0.2, protocol={"name": "regdb", "settings": {"name": "x"}})],
            "call different protocols regdb",
        ),
        ([report(1, 0.2), report(2, 0.2, results=[])], "split2/report.json has no row 'tir → rgb'"),
    ],
)
def test_reports_that_have_no_common_mean_are_refused(reports: list[dict[str, Any]], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        average_reports(reports)
