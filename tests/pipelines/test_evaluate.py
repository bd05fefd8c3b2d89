"""Evaluation: which pairings are measured, which are refused, and what is written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import pipelines.embed
from pipelines.evaluate import choose_pairings, evaluate_run, report_lines
from reid.errors import DataError, UnsupportedPairing
from reid.modality import ORDER
from reid.runs import Run
from tests.pipelines.tiny import config_of, silent

MATCHED = ("model.fusion=concat", "data.modalities=rgb+nir+tir", "evaluate.gallery=null")


def test_a_report_is_written_and_says_what_was_measured(any_run: Run, workdir: Path) -> None:
    lines: list[str] = []
    result = evaluate_run(config_of(workdir, "evaluate.subsets=[rgb, sketch, text]"), any_run, lines.append)
    assert {"report.html", "report.md", "report.json"} <= {*result.files, *map(_name, result.files.values())}
    assert all(Path(uri).stat().st_size > 100 for uri in result.files.values())
    found = result.evaluation
    assert [(r.query, r.gallery) for r in found.results] == [
        ("rgb", "rgb"),
        ("sketch", "rgb"),
        ("text", "rgb"),
    ]
    assert found.model_fingerprint == any_run.fingerprint
    assert any("not calibrated" in w for w in found.warnings)
    assert [b.name for b in found.baselines] == ["colour histogram"]
    assert 0 < found.results[0].metrics.mAP <= 1
    assert sum("evaluate: " in line for line in lines) == 3
    table = "\n".join(report_lines(result))
    assert "sketch" in table and result.files["report.html"] in table
    json.loads(Path(result.files["report.json"]).read_text())


def _name(uri: str) -> str:
    return Path(uri).name


def test_a_second_evaluation_computes_nothing_new(
    any_run: Run, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config_of(workdir, "evaluate.subsets=[nir]")
    first = evaluate_run(settings, any_run, silent)

    def never(*_: object, **__: object) -> None:
        raise AssertionError("embedded again")

    monkeypatch.setattr(pipelines.embed, "Embedder", never)
    second = evaluate_run(settings, any_run, silent)
    assert second.files == first.files
    assert second.evaluation.results[0].metrics.mAP == first.evaluation.results[0].metrics.mAP
    with pytest.raises(AssertionError, match="embedded again"):  # a pairing that is new is computed
        evaluate_run(config_of(workdir, "evaluate.subsets=[tir]"), any_run, silent)


def test_by_default_everything_that_the_model_answers_is_measured(any_run: Run, matched_run: Run) -> None:
    anything = choose_pairings(config_of("/w"), any_run.model, ORDER)
    assert len(anything) == 1 + 15  # rgb, and every subset of the others, against rgb
    assert all(p.gallery == ORDER[:1] for p in anything)
    matched = choose_pairings(config_of("/w", *MATCHED), matched_run.model, ORDER)
    assert len(matched) == 7
    assert all(p.query == p.gallery for p in matched)


@pytest.mark.parametrize(
    "pairing",
    ["nir->rgb", "text->rgb"],
)
def test_a_matched_model_refuses_and_names_who_can(matched_run: Run, workdir: Path, pairing: str) -> None:
    with pytest.raises(UnsupportedPairing) as caught:
        evaluate_run(config_of(workdir, *MATCHED, f"evaluate.subsets={pairing}"), matched_run, silent)
    assert pairing.partition("->")[0] in str(caught.value)
    assert "FlexiReID" in str(caught.value)


def test_a_split_without_samples_is_told_with_those_there_are(any_run: Run, workdir: Path) -> None:
    with pytest.raises(DataError, match=r"evaluate\.split: .*no 'val' samples; it has test, train"):
        evaluate_run(config_of(workdir, "evaluate.split=val"), any_run, silent)
