"""Reports side by side: the best marked, published numbers faint, unequal conditions told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reid.errors import DataError, UsageError
from reid.evaluate.report.comparison import (
    ReportComparison,
    compare_lines,
    compare_reports,
    find_report,
    read_report,
    render_compare_html,
    render_compare_markdown,
    write_comparison,
)
from reid.evaluate.report.published import published_rows
from reid.evaluate.report.rendering import render_json
from tests.support.retrieval.reports import Page, evaluation_of

FULL = ("rgb+nir+tir", "rgb+nir+tir")


def report(run: str, *pairs: tuple[str, str], mAP: float, R1: float, **fields: Any) -> dict[str, Any]:
    """A report.json whose rows all have these numbers."""
    tree: dict[str, Any] = json.loads(render_json(evaluation_of(*pairs, run=run, **fields)))
    for row in tree["results"]:
        row |= {"mAP": mAP, "R1": R1}
    return tree


@pytest.fixture
def comparison() -> ReportComparison:
    known = {"published": published_rows("mfrnet", "rgbnt201")}
    return compare_reports(
        [report("a", FULL, ("nir", "rgb"), mAP=0.5, R1=0.7, **known), report("b", FULL, mAP=0.6, R1=0.6)]
    )


def test_runs_of_one_pairing_stand_in_one_table_and_the_best_is_marked(comparison: ReportComparison) -> None:
    first, alone = comparison.tables
    assert first.pair == "rgb+nir+tir"
    assert [(row.name, "mAP" in row.best, "R1" in row.best) for row in first.rows] == [
        ("a", False, True),
        ("b", True, False),
    ]
    assert alone.pair == "nir → rgb"
    assert alone.rows[0].best == frozenset()  # nothing to compare it with


def test_the_three_forms_show_it(comparison: ReportComparison, tmp_path: Path) -> None:
    files = write_comparison(comparison, tmp_path / "new")
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == sorted(files)
    markdown = Path(files["compare.md"]).read_text()
    assert markdown == render_compare_markdown(comparison)
    assert "| a | 50.0 | **70.0** |" in markdown
    assert "| b | **60.0** | 60.0 |" in markdown
    page = Page(Path(files["compare.html"]).read_text())
    assert len(page.classes("best")) >= 2
    tree = json.loads(Path(files["compare.json"]).read_text())
    assert [row["run"] for row in tree["tables"][0]["rows"]] == ["a", "b"]
    lines = "\n".join(compare_lines(comparison, files))
    assert "60.0*" in lines and files["compare.html"] in lines


def test_published_numbers_are_faint_below_their_pairing_and_never_the_best(
    comparison: ReportComparison,
) -> None:
    assert [row.get("mAP") for row in comparison.tables[0].published] == [0.807]
    assert comparison.tables[1].published == ()
    assert "*80.7*" in render_compare_markdown(comparison)
    page = Page(render_compare_html(comparison))
    assert len(page.classes("published")) == 1
    assert "published, not measured here" in page.words


def test_the_page_fetches_nothing_and_shows_hostile_names_as_text() -> None:
    evil = '<script src="https://evil.example"></script>'
    runs = [report(evil, FULL, mAP=0.5, R1=0.7), report("b", FULL, mAP=0.6, R1=0.6)]
    page = Page(render_compare_html(compare_reports(runs)))
    assert {"script", "link", "img", "iframe"}.isdisjoint(tag for tag, _ in page.tags)
    assert evil in page.text
    assert "<script" not in render_compare_markdown(compare_reports(runs)).replace("\\<", "")


def test_unequal_conditions_are_told() -> None:
    one = report("a", FULL, mAP=0.5, R1=0.7)
    other = report("b", FULL, mAP=0.6, R1=0.6, dataset="elsewhere", data_fingerprint="more")
    warnings = compare_reports([one, other]).warnings
    assert any("different data sets (toy, elsewhere)" in w for w in warnings)
    assert len(warnings) == 2
    assert compare_reports([one, report("b", FULL, mAP=0.6, R1=0.6)]).warnings == ()


def test_runs_of_one_name_are_told_apart() -> None:
    one = report("a", FULL, mAP=0.5, R1=0.7)
    other = report("a", FULL, mAP=0.6, R1=0.6, model_fingerprint="m2")
    names = [row.name for row in compare_reports([one, other]).tables[0].rows]
    assert names == ["a, model-abc", "a, m2"]
    assert len({row.name for row in compare_reports([one, one]).tables[0].rows}) == 2


def test_reports_of_before_without_curves_are_still_compared() -> None:
    old = report("a", FULL, mAP=0.5, R1=0.7)
    for row in old["results"]:
        del row["cmc"]
    del old["published"]
    page = Page(render_compare_html(compare_reports([old, report("b", FULL, mAP=0.6, R1=0.6)])))
    assert page.classes("line") == []


def test_a_report_is_found_in_a_file_an_evaluation_or_a_run(tmp_path: Path) -> None:
    inside = tmp_path / "run" / "evaluate" / "all-test-1"
    inside.mkdir(parents=True)
    (inside / "report.json").write_text(json.dumps(report("a", FULL, mAP=0.5, R1=0.7)))
    for named in (inside / "report.json", inside, tmp_path / "run"):
        assert find_report(str(named)) == str(inside / "report.json")
    assert read_report(str(inside / "report.json"))["run"] == "a"
    second = tmp_path / "run" / "evaluate" / "all-test-2"
    second.mkdir()
    (second / "report.json").write_text("{}")
    with pytest.raises(UsageError, match=r"several reports.*all-test-1.*all-test-2"):
        find_report(str(tmp_path / "run"))
    with pytest.raises(UsageError, match="evaluate the run first"):
        find_report(str(tmp_path))
    with pytest.raises(DataError, match="no report of an evaluation"):
        read_report(str(second / "report.json"))


def test_one_report_is_no_comparison() -> None:
    with pytest.raises(UsageError, match="two reports or more"):
        compare_reports([report("a", FULL, mAP=0.5, R1=0.7)])
