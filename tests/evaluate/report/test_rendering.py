"""The report's three forms: the same numbers, self-contained, and safe with hostile text."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from reid.data.images import encode_jpeg, encode_png
from reid.errors import DataError
from reid.evaluate.metrics.retrieval import rank_metrics
from reid.evaluate.report.html import render_html
from reid.evaluate.report.rendering import render_json, render_markdown, write_report
from reid.evaluate.report.results import Evaluation, RankedItem, RankedList, SubsetResult
from reid.modality import Modality
from tests.support.retrieval.reports import Page, metrics

HOSTILE = '</blockquote><script>alert("x")</script><img src=https://evil.example/p.png onerror=x>'
PIXELS = np.full((6, 4, 3), 90, np.uint8)


@pytest.fixture
def evaluation() -> Evaluation:
    found = (
        RankedItem(encode_jpeg(PIXELS), 3, 0.912, True, camid=2, item_id="g1"),
        RankedItem(encode_png(PIXELS), 5, 0.5, False),
        RankedItem(HOSTILE, 5, 0.25, False),
    )
    query = ((Modality.RGB, encode_png(PIXELS)), (Modality.TEXT, HOSTILE))
    return Evaluation(
        run="run-1",
        dataset="toy",
        split="test",
        protocol="cross_camera",
        summary="Find it in other cameras.",
        exclusions=("same camera", "own sample"),
        model_fingerprint="model-abc",
        data_fingerprint="data-def",
        results=(
            SubsetResult("sketch", "rgb", metrics(0), 20, 3, 1, interval=(0.1, 0.4)),
            SubsetResult("rgb+text", "rgb+text", metrics(1), 20),
        ),
        baselines=(SubsetResult("rgb", "rgb", metrics(2), 20, name="Colour histogram"),),
        warnings=("No calibration.",),
        ranked=(RankedList(query, 3, found, camid=1, query_id="q1", first_hit=1),),
    )


def test_the_three_files_are_written_where_asked(evaluation: Evaluation, tmp_path: Path) -> None:
    uris = write_report(evaluation, tmp_path / "new" / "folder")
    assert sorted(p.name for p in (tmp_path / "new" / "folder").iterdir()) == sorted(uris)
    assert json.loads(Path(uris["report.json"]).read_text()) == json.loads(render_json(evaluation))
    assert Path(uris["report.html"]).read_text() == render_html(evaluation)
    assert Path(uris["report.md"]).read_text() == render_markdown(evaluation)


def test_json_holds_every_number_and_what_they_rest_on(evaluation: Evaluation) -> None:
    report = json.loads(render_json(evaluation))
    first, m = report["results"][0], evaluation.results[0].metrics
    assert first["mAP"] == m.mAP
    assert [first["R1"], first["R5"], first["R10"]] == list(m.cmc)
    assert first["mINP"] == m.mINP
    assert first["chance"] == {
        "mAP": m.chance_mAP,
        **{f"R{k}": m.chance_cmc(k) for k in (1, 5, 10)},
    }
    assert (first["queries"], first["skipped"], first["gallery_size"]) == (8, 1, 20)
    assert (first["lacking_queries"], first["lacking_gallery"]) == (3, 1)
    assert first["mAP_interval"] == [0.1, 0.4]
    assert report["protocol"]["excluded"] == ["same camera", "own sample"]
    assert (report["model_fingerprint"], report["data_fingerprint"]) == ("model-abc", "data-def")
    assert report["baselines"][0]["name"] == "Colour histogram"
    assert [r["right"] for r in report["ranked"][0]["results"]] == [True, False, False]
    assert report["ranked"][0]["query"] == {"rgb": None, "text": HOSTILE}


def test_html_and_markdown_show_the_numbers_of_the_json(evaluation: Evaluation) -> None:
    report = json.loads(render_json(evaluation))
    rows = report["results"] + report["baselines"]
    page = Page(render_html(evaluation))
    for field in ("mAP", "R1", "R5", "R10", "mINP"):
        assert page.values(field) == [row[field] for row in rows]
    assert page.values("chance-mAP") == [row["chance"]["mAP"] for row in rows]
    assert page.values("chance-R1") == [row["chance"]["R1"] for row in rows]
    shown = re.findall(r'<data value="([^"]+)"[^>]*>([^<]+)</data>', render_html(evaluation))
    assert len(shown) == 7 * 3
    assert all(f"{100 * float(value):.1f}" == text for value, text in shown)
    markdown = render_markdown(evaluation)
    for row in rows:
        assert f"| {100 * row['R1']:.1f} | {100 * row['R5']:.1f} | {100 * row['R10']:.1f} |" in markdown


@pytest.mark.parametrize("form", [render_html, render_markdown])
def test_every_form_says_what_the_numbers_rest_on(form: object, evaluation: Evaluation) -> None:
    text = form(evaluation)  # type: ignore[operator]
    said = ("cross_camera", "Find it in other cameras.", "same camera", "own sample")
    for phrase in (*said, "model-abc", "data-def", "toy", "run-1", "No calibration."):
        assert phrase in text.replace("\\", "")


def test_the_page_fetches_nothing(evaluation: Evaluation) -> None:
    html = render_html(evaluation)
    page = Page(html)
    images = [attributes["src"] or "" for tag, attributes in page.tags if tag == "img"]
    assert len(images) == 3
    assert all(re.match(r"data:image/(png|jpeg);base64,", source) for source in images)
    assert {"script", "link", "iframe", "object", "embed"}.isdisjoint(tag for tag, _ in page.tags)
    assert not any("href" in attributes or "srcset" in attributes for _, attributes in page.tags)
    style = re.search(r"<style>(.*?)</style>", html, re.S)
    assert style is not None
    assert "url(" not in style[1]
    assert "@import" not in style[1]
    texts = replace(evaluation, ranked=(replace(evaluation.ranked[0], query=(), results=()),))
    without_captions = render_html(texts)
    assert "//" not in without_captions
    assert "data:image/png" not in without_captions


def test_hostile_captions_and_names_are_shown_as_text(evaluation: Evaluation) -> None:
    evil = replace(evaluation, run=HOSTILE, warnings=(HOSTILE,), exclusions=(HOSTILE,))
    page = Page(render_html(evil))
    assert "script" not in {tag for tag, _ in page.tags}
    assert not any("onerror" in attributes for _, attributes in page.tags)
    assert page.text.count(HOSTILE) >= 5
    markdown = render_markdown(replace(evil, run="a | b\n# c <b>"))
    assert "<script>" not in markdown.replace("\\<", "")
    assert markdown.startswith(r"# Evaluation of a \| b \# c \<b\>")


def test_right_and_wrong_differ_by_frame_and_by_words(evaluation: Evaluation) -> None:
    page = Page(render_html(evaluation))
    assert [value.split() for value in page.classes("hit")] == [
        ["hit"],
        ["hit", "wrong"],
        ["hit", "wrong"],
    ]
    assert page.text.count("✓ right") == 1
    assert page.text.count("✗ wrong") == 2
    assert "1 of 3 shown are right" in page.text


def test_a_subset_without_a_valid_query_is_null_and_a_dash(evaluation: Evaluation) -> None:
    nothing = rank_metrics(torch.rand(2, 3), torch.tensor([8, 9]), torch.tensor([0, 1, 2]))
    assert math.isnan(nothing.mAP)
    empty = replace(evaluation, results=(SubsetResult("nir", "rgb", nothing, 3),), baselines=())
    row = json.loads(render_json(empty))["results"][0]
    assert (row["mAP"], row["R1"], row["chance"]["mAP"], row["skipped"]) == (None, None, None, 2)
    assert Page(render_html(empty)).values("mAP") == []
    assert "nan" not in (Page(render_html(empty)).text + render_markdown(empty)).lower()


def test_a_report_without_results_or_lists_still_renders(evaluation: Evaluation) -> None:
    bare = replace(evaluation, results=(), baselines=(), ranked=(), warnings=(), exclusions=())
    assert "Nothing is excluded" in Page(render_html(bare)).text
    assert "Not counted: nothing." in render_markdown(bare)


def test_a_picture_of_another_kind_is_refused(evaluation: Evaluation) -> None:
    odd = RankedList(((Modality.RGB, b"<svg onload=alert(1)>"),), 0, ())
    with pytest.raises(DataError, match="JPEG, PNG or WebP"):
        render_html(replace(evaluation, ranked=(odd,)))
