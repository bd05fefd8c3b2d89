"""Evaluation: which pairings are measured, which are refused, and what is written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

import pipelines.embed
import pipelines.evaluation.evaluate
from pipelines.embed import features_of
from pipelines.evaluation.evaluate import evaluate_run, report_lines
from reid.data.shards.shard_set import ShardSet
from reid.errors import ConfigError, DataError, UnsupportedPairing, UsageError
from reid.evaluate.features.table import key_codes
from reid.evaluate.metrics.trials import TrialMetrics
from reid.evaluate.plan import read_labels
from reid.evaluate.protocols.items import SampleLabels
from reid.evaluate.protocols.label_columns import label_table_of
from reid.evaluate.protocols.label_table import LabelTable
from reid.modality import ORDER, Modality
from reid.preflight.pairings import choose_pairings
from reid.runs.run import Run
from tests.support.tiny_configs import config_of, silent

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

    monkeypatch.setattr(pipelines.embed, "EmbeddingActor", never)
    second = evaluate_run(settings, any_run, silent)
    assert second.files == first.files
    assert second.evaluation.results[0].metrics.mAP == first.evaluation.results[0].metrics.mAP
    with pytest.raises(AssertionError, match="embedded again"):  # a pairing that is new is computed
        evaluate_run(config_of(workdir, "evaluate.subsets=[tir]"), any_run, silent)


def test_more_than_can_be_re_ranked_is_refused_before_anything_is_embedded(
    any_run: Run, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reid.evaluate.metrics.reranking.MEMORY", 2**10)
    monkeypatch.setattr(pipelines.evaluation.evaluate, "embed_work", None)
    settings = config_of(workdir, "evaluate.subsets=[rgb]", "evaluate.rerank={k1: 3, k2: 1}")
    with pytest.raises(UsageError, match=r"evaluate\.rerank: \d+ vectors .* enough for \d+"):
        evaluate_run(settings, any_run, silent)


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
    assert "flexireid" in str(caught.value)


def test_a_split_without_samples_is_told_with_those_there_are(any_run: Run, workdir: Path) -> None:
    with pytest.raises(DataError, match=r"evaluate\.split: .*no 'val' samples; it has train, test"):
        evaluate_run(config_of(workdir, "evaluate.split=val"), any_run, silent)


@pytest.fixture
def embeds_nothing(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Calling it forbids embedding from then on."""

    def never(*_: object, **__: object) -> None:
        raise AssertionError("embedded again")

    return lambda: monkeypatch.setattr(pipelines.embed, "EmbeddingActor", never)


def test_another_protocol_of_the_same_samples_embeds_nothing(
    any_run: Run, workdir: Path, embeds_nothing: Any
) -> None:
    asked = "evaluate.subsets=[nir]"
    first = evaluate_run(config_of(workdir, asked), any_run, silent)
    embeds_nothing()
    seen = {first.files["report.json"]}
    for protocol in (
        "roles",
        "sysu_all",
        "llcm",
        "regdb",
        "{extends: sysu_all, gallery: {sampling: {shots: 2, seed: 7}}}",
        "{exclude: [camera, same_sample], cmc: identities}",
    ):
        found = evaluate_run(config_of(workdir, asked, f"evaluate.protocol={protocol}"), any_run, silent)
        seen.add(found.files["report.json"])
    again = evaluate_run(config_of(workdir, asked, "evaluate.rerank={k1: 4, k2: 2}"), any_run, silent)
    assert len({*seen, again.files["report.json"]}) == 8  # no report overwrites another


def test_a_report_of_trials_says_how_they_were_drawn_and_how_they_spread(any_run: Run, workdir: Path) -> None:
    lines: list[str] = []
    settings = config_of(workdir, "evaluate.subsets=[nir]", "evaluate.protocol=llcm", "evaluate.rerank={}")
    result = evaluate_run(settings, any_run, lines.append)
    report = json.loads(Path(result.files["report.json"]).read_text())
    row = report["results"][0]
    assert row["trials"]["count"] == 10 and len(row["trials"]["values"]["R1"]) == 10
    assert report["protocol"]["sampling"].startswith("Means over 10 galleries of at most 1 per (pid, camid)")
    assert report["protocol"]["settings"]["exclude"] == ["same_camera", "same_sample"]
    assert report["protocol"]["settings"]["query"]["split"] == "test"
    assert report["rerank"] == {"k1": 20, "k2": 6, "lambda_value": 0.3}
    assert row["gallery_size"] < len(result.evaluation.results[0].metrics.ap) * 10
    assert isinstance(result.evaluation.results[0].metrics, TrialMetrics)
    assert any(" ± " in line for line in lines)
    assert "10 trials" in "\n".join(report_lines(result))
    assert result.evaluation.baselines == ()  # a histogram ranks RGB by RGB, which nobody asked here


@pytest.mark.parametrize(
    ("protocol", "names"),
    [
        ("regdb", ["rgb->nir", "rgb->tir", "nir->rgb", "nir->tir", "tir->rgb", "tir->nir"]),
        ("uni_modal", ["rgb", "nir", "tir"]),
        ("mix", ["rgb->rgb|nir|tir", "nir->rgb|nir|tir", "tir->rgb|nir|tir"]),
    ],
)
def test_a_protocol_asks_by_itself(any_run: Run, protocol: str, names: list[str]) -> None:
    config = config_of("/w", f"evaluate.protocol={protocol}", "evaluate.gallery=null")
    assert sorted(p.name for p in choose_pairings(config, any_run.model, ORDER)) == sorted(names)


def test_text_to_image_asks_everything_but_photos_of_photos(any_run: Run) -> None:
    config = config_of("/w", "evaluate.protocol=text_to_image", "evaluate.gallery=null")
    found = choose_pairings(config, any_run.model, ORDER)
    assert len(found) == 15 and all(p.gallery == (Modality.RGB,) for p in found)
    assert all(Modality.RGB not in p.query for p in found)


def test_a_mixed_protocol_refuses_a_gallery_that_is_not(any_run: Run) -> None:
    for wrong in ("evaluate.gallery=rgb", "evaluate.subsets=[nir->rgb]"):
        config = config_of("/w", "evaluate.protocol=mix", "evaluate.gallery=null", wrong)
        with pytest.raises(ConfigError, match=r"evaluate\.gallery: .*mixed gallery.*\|"):
            choose_pairings(config, any_run.model, ORDER)
    spelled = config_of("/w", "evaluate.protocol=mix", "evaluate.subsets=[nir->rgb|nir]")
    assert [p.name for p in choose_pairings(spelled, any_run.model, ORDER)] == ["nir->rgb|nir"]


def test_a_mixed_gallery_is_embedded_measured_and_shown(any_run: Run, workdir: Path) -> None:
    settings = config_of(workdir, "evaluate.protocol=mix_id", "evaluate.subsets=[nir->rgb|nir]")
    found = evaluate_run(settings, any_run, silent).evaluation
    assert (found.results[0].query, found.results[0].gallery) == ("nir", "rgb|nir")
    assert found.results[0].gallery_size == 2 * len(found.results[0].metrics.ap)
    assert all(r.item_id is None or not (r.right and ":nir" in r.item_id) for r in found.ranked[0].results)


@pytest.mark.parametrize(("side", "pairs"), [("query", 7), ("gallery", 7), ("both", 7)])
def test_a_grid_of_missing_modalities_asks_every_subset(matched_run: Run, side: str, pairs: int) -> None:
    config = config_of("/w", *MATCHED, f"evaluate.missing={side}")
    found = choose_pairings(config, matched_run.model, ORDER)
    full = (Modality.RGB, Modality.NIR, Modality.TIR)
    asked = {(p.query, p.gallery) for p in found}
    assert len(asked) == pairs
    if side == "both":
        assert all(q == g for q, g in asked)
    else:
        assert {(q, g)[side == "query"] for q, g in asked} == {full}


def test_a_grid_is_measured_and_its_mean_told(matched_run: Run, workdir: Path) -> None:
    config = config_of(workdir, *MATCHED, "evaluate.missing=both")
    result = evaluate_run(config, matched_run, silent)
    report = json.loads(Path(result.files["report.json"]).read_text())
    incomplete = [r["mAP"] for r in report["results"] if r["query"] != "rgb+nir+tir"]
    assert report["missing"]["rows"] == len(incomplete) == 6
    assert report["missing"]["mAP"] == pytest.approx(sum(incomplete) / 6)
    assert "mean of 6 incomplete rows" in "\n".join(report_lines(result))


def test_a_combination_that_no_sample_has_is_left_out_and_told(
    any_run: Run, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cameras apart: of every two samples one has RGB, the other infrared."""

    def apart(row: SampleLabels) -> SampleLabels:
        kept = Modality.RGB if int(row.sample_id[-1]) % 2 else Modality.NIR
        return replace(row, images={kept: (row.images or {})[kept]}, captions=())

    def labels(*asked: Any) -> LabelTable:
        return label_table_of(map(apart, read_labels(*asked)))

    monkeypatch.setattr("reid.evaluate.plan.read_labels", labels)
    found = evaluate_run(config_of(workdir, "evaluate.gallery=null"), any_run, silent).evaluation
    assert [(r.query, r.gallery) for r in found.results] == [("rgb", "rgb"), ("nir", "rgb")]
    both = config_of(workdir, "evaluate.subsets=[rgb+nir]")
    with pytest.raises(DataError, match=r"No query sample of this split has 'rgb\+nir'"):
        evaluate_run(both, any_run, silent)


NOTHING_OF_ITS_MODALITY = "evaluate.protocol={exclude: [same_sample, same_modality]}"


def test_queries_without_any_positive_are_counted_and_warned_of(any_run: Run, workdir: Path) -> None:
    """Nothing in RGB counts for an RGB query; NIR has answers, so that there is something to measure."""
    settings = config_of(workdir, "evaluate.subsets=[rgb, nir]", NOTHING_OF_ITS_MODALITY)
    found = evaluate_run(settings, any_run, silent).evaluation
    row, other = found.results
    assert (row.metrics.queries, row.metrics.skipped) == (0, len(row.metrics.ap))
    assert row.numbers()["mAP"] is None
    assert other.metrics.queries and other.numbers()["mAP"] is not None
    (warning,) = [w for w in found.warnings if "no query has a positive left" in w]
    assert warning.startswith(row.label)


def test_an_evaluation_in_which_no_query_has_an_answer_is_refused_before_work(
    any_run: Run, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("embedded")

    monkeypatch.setattr(pipelines.evaluation.evaluate, "embed_work", never)
    settings = config_of(workdir, "evaluate.subsets=[rgb]", NOTHING_OF_ITS_MODALITY)
    with pytest.raises(ConfigError, match=r"^evaluate\.protocol: .* no query of the test split has a right"):
        evaluate_run(settings, any_run, silent)


def test_stored_vectors_of_other_weights_are_refused(any_run: Run, shards: ShardSet, workdir: Path) -> None:
    other = cast(Run, SimpleNamespace(uri=any_run.uri, fingerprint="other weights"))
    stored = features_of(other, shards)
    uri = stored.add(key_codes(["0" * 32]), np.zeros((1, 4), np.float32))
    try:
        with pytest.raises(DataError, match=r"vectors of .*other weights.*Delete .*features"):
            evaluate_run(config_of(workdir, "evaluate.subsets=[rgb]"), any_run, silent)
    finally:
        Path(uri).unlink()


def test_queries_and_gallery_may_be_of_different_splits(
    any_run: Run, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is in both splits here, which would be refused: the sides alone are looked at."""
    monkeypatch.setattr("reid.evaluate.plan.check_support", lambda *_, **__: None)
    monkeypatch.setattr(pipelines.evaluation.evaluate, "check_support", lambda *_, **__: None)
    protocol = "{query: {split: train}, exclude: [same_sample]}"
    settings = config_of(workdir, "evaluate.subsets=[nir]", f"evaluate.protocol={protocol}")
    row = evaluate_run(settings, any_run, silent).evaluation.results[0]
    assert len(row.metrics.ap) == row.gallery_size == 16
    assert row.metrics.skipped == 16
    assert row.metrics.candidates.tolist() == [16] * 16
