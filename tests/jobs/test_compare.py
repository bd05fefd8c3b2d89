"""`python -m jobs.evaluate --compare`: what it prints, writes and refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobs import evaluate
from reid.evaluate.report.rendering import write_report
from tests.support.retrieval.reports import evaluation_of
from tests.support.verbs import Call


@pytest.fixture
def reports(tmp_path: Path) -> tuple[str, str]:
    """Folders of two reports."""
    for name in "ab":
        write_report(evaluation_of(("nir", "rgb"), run=f"run {name}"), tmp_path / name)
    return str(tmp_path / "a"), str(tmp_path / "b")


def test_reports_are_compared_without_a_configuration(
    call: Call, reports: tuple[str, str], tmp_path: Path
) -> None:
    given = ("--compare", reports[0], "--compare", reports[1], "--out", str(tmp_path / "c"))
    outcome = call(evaluate.evaluate, *given)
    assert outcome.code == 0, outcome.err
    assert "run a" in outcome.out and "run b" in outcome.out and "compare.html" in outcome.out
    assert sorted(p.name for p in (tmp_path / "c").iterdir()) == [
        "compare.html",
        "compare.json",
        "compare.md",
    ]
    tree = json.loads(call(evaluate.evaluate, *given, "--json").out)
    assert tree["files"]["compare.md"] == str(tmp_path / "c" / "compare.md")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--compare", "A"), "two reports or more"),
        (("--compare", "A", "--compare", "B", "--preset", "baseline/synthetic"), "--compare reads finished"),
        (("--out", "c", "--preset", "baseline/synthetic"), "--out goes with --compare"),
        (("--compare", "A", "--compare", "nowhere"), "no report.json here"),
    ],
)
def test_wrong_usage_is_refused(
    call: Call, reports: tuple[str, str], given: tuple[str, ...], said: str
) -> None:
    named = {"A": reports[0], "B": reports[1]}
    outcome = call(evaluate.evaluate, *(named.get(word, word) for word in given))
    assert outcome.code == 2
    assert said in outcome.err
