"""The report's figures: what they show is what was measured, drawn without scripts or fetched things."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from reid.data.images import encode_png
from reid.evaluate.metrics.trials import over_trials
from reid.evaluate.report.figures import (
    cmc_chart,
    heat_map,
    histogram_chart,
    projection_chart,
    routing_pictures,
)
from reid.evaluate.report.html import render_html
from reid.evaluate.report.projection import project
from reid.evaluate.report.published import published_rows
from reid.evaluate.report.rendering import render_json, render_markdown
from reid.evaluate.report.results import Evaluation, RankedList, SubsetResult
from reid.evaluate.report.routing_map import RoutingMap
from reid.evaluate.report.similarity_histograms import Similarities
from reid.modality import Modality
from tests.support.retrieval.reports import Page, evaluation_of, metrics

PICTURE = encode_png(np.full((8, 4, 3), 90, np.uint8))


@pytest.fixture
def full() -> Evaluation:
    """An evaluation with every figure."""
    vectors = torch.randn(30, 6, generator=torch.Generator().manual_seed(0))
    pids = [i % 25 for i in range(30)]
    return evaluation_of(
        ("rgb+nir+tir", "rgb+nir+tir"),
        ("nir+tir", "nir+tir"),
        published=published_rows("mfrnet", "rgbnt201"),
        similarities=(Similarities("nir+tir", 0.2, 0.9, (0, 1, 3), (5, 2, 1)),),
        projection=project(vectors, vectors, pids, pids, label="nir+tir"),
        routing=(RoutingMap("frm11", Modality.RGB, PICTURE, 4, 2, 2, (0, 1, 1, -1), 6),),
    )


def test_the_json_has_every_point_of_the_cmc_curves(full: Evaluation) -> None:
    row, m = json.loads(render_json(full))["results"][0], full.results[0].metrics
    assert row["cmc"] == [m.cmc_at(k) for k in range(1, 21)]
    assert (row["cmc"][0], row["cmc"][4]) == (row["R1"], row["R5"])


def test_a_curve_rises_from_rank_1_to_the_last() -> None:
    chart = cmc_chart([("a", [0.0, 0.5, 1.0]), ("b", [None, None, None])])
    assert chart is not None
    assert [line["label"] for line in chart["lines"]] == ["a"]
    points = [tuple(map(float, p.split())) for p in chart["lines"][0]["path"][1:].split("L")]
    left, bottom, right = chart["left"], chart["bottom"], chart["right"]
    assert points[0] == (left, bottom)
    assert points[-1] == (right, pytest.approx(10))
    assert points[1][1] == pytest.approx((bottom + 10) / 2)
    assert cmc_chart([("b", [None])]) is None


def test_the_page_has_a_line_and_a_name_for_each_pairing(full: Evaluation) -> None:
    page = Page(render_html(full))
    assert len(page.classes("line")) == 2 * 2  # the curve, and its key
    assert "script" not in {tag for tag, _ in page.tags}
    assert all("href" not in attributes for _, attributes in page.tags)


def test_the_heat_map_is_a_grid_where_both_sides_vary() -> None:
    one = heat_map(evaluation_of(("nir", "rgb"), ("tir", "rgb"), ("nir", "rgb+nir"), ("tir", "nir")))
    assert one is not None
    assert one["galleries"] == ["rgb", "rgb+nir", "nir"]
    assert [name for name, _ in one["rows"]] == ["nir", "tir"]
    assert [cell is not None for cell in one["rows"][0][1]] == [True, True, False]


def test_the_heat_map_is_a_list_best_first_where_one_side_is_fixed_or_both_are_alike() -> None:
    listed = heat_map(evaluation_of(("nir", "nir"), ("rgb+nir", "rgb+nir"), ("rgb", "rgb")))
    assert listed is not None
    assert listed["parts"] == ["rgb", "nir"]
    shown = [float(cell["text"]) for _, _, cell in listed["rows"]]
    assert shown == sorted(shown, reverse=True)
    assert {name: has for name, has, _ in listed["rows"]}["nir"] == [False, True]
    against = heat_map(evaluation_of(("nir", "rgb"), ("text", "rgb")))
    assert against is not None
    assert against["said"] == "against rgb"
    assert heat_map(evaluation_of(("rgb", "rgb"))) is None


def test_the_histograms_keep_their_pairs_and_scale_each_to_its_own_number() -> None:
    chart = histogram_chart(Similarities("x", 0.9998, 1.0, (0, 4), (20, 20)))
    assert chart["pairs"] == (4, 40)
    heights = re.findall(r"V([\d.]+)H", chart["positives"]), re.findall(r"V([\d.]+)H", chart["negatives"])
    assert heights[0] == ["112.0", "6.0"]  # nothing, then all of them: the highest bin
    assert heights[1] == ["59.0", "59.0"]  # half each
    labels = [text for _, _, text in chart["ticks"]]
    assert len(set(labels)) == 3  # with as many digits as that takes


def test_the_projection_has_a_colour_for_20_identities_and_a_shape_for_each_side(full: Evaluation) -> None:
    assert full.projection is not None
    chart = projection_chart(full.projection)
    coloured = [group for group in chart["groups"] if group["hue"] is not None]
    assert len({group["hue"] for group in coloured}) == 20
    assert {group["query"] for group in coloured} == {True, False}
    assert sum(group["path"].count("M") for group in chart["groups"]) == 60
    assert "Circles are queries" in Page(render_html(full)).words
    assert "Circles are queries" not in Page(render_html(replace(full, projection=None))).words


def test_routing_is_drawn_over_its_picture_a_square_a_patch() -> None:
    maps = [
        RoutingMap("ffm0", Modality.NIR, PICTURE, 4, 2, 2, (0, 1, 1, -1), 3),
        RoutingMap("frm11", Modality.NIR, PICTURE, 4, 2, 2, (5, 5, 5, 5), 6),
    ]
    shown = routing_pictures(maps)
    assert len(shown) == 1  # one picture
    ffm, frm = shown[0]["grids"]
    assert {e: path for e, path, _ in ffm["experts"]}[1] == "M1 0h1v1h-1zM0 1h1v1h-1z"
    assert [(e, count) for e, _, count in frm["experts"]] == [(5, 4)]
    page = Page(render_html(evaluation_of(("rgb", "rgb"), routing=tuple(maps))))
    assert "Which expert each patch goes to" in page.words
    assert "dropped" in page.words


def test_published_numbers_are_faint_rows_that_say_so(full: Evaluation) -> None:
    page = Page(render_html(full))
    assert len(page.classes("published")) == 7
    assert page.words.count("published, not measured here") >= 7
    assert page.words.index("80.7") < page.words.index("64.7") < page.words.index("72.3")
    assert len(page.values("mAP")) == 2  # they are not among the measured ones
    markdown = render_markdown(full)
    assert markdown.count("published, not measured here") == 7
    assert "*80.7*" in markdown
    published = json.loads(render_json(full))["published"]
    assert published[0]["mAP"] == 0.807
    assert all(row["note"] == "published, not measured here" for row in published)


def test_the_spread_over_trials_stands_beside_the_numbers() -> None:
    several = over_trials([metrics(0), metrics(1), metrics(2)])
    evaluation = evaluation_of(results=(SubsetResult("nir", "rgb", several, 20, interval=(0.1, 0.4)),))
    spread = json.loads(render_json(evaluation))["results"][0]["trials"]["std"]
    assert f"± {100 * spread['mAP']:.1f}" in Page(render_html(evaluation)).words
    assert f"± {100 * spread['R1']:.1f}" in Page(render_html(evaluation)).words
    assert f"± {100 * spread['mAP']:.1f} (10.0–40.0)" in render_markdown(evaluation)


def test_ranked_lists_say_how_their_query_was_chosen() -> None:
    lists = tuple(
        RankedList(((Modality.RGB, PICTURE),), 3, (), kind=kind, ap=ap)
        for kind, ap in (("best", 0.875), ("worst", 0.01), ("random", 0.5))
    )
    evaluation = evaluation_of(("rgb", "rgb"), ranked=lists)
    words = Page(render_html(evaluation)).words
    assert all(f"{kind} query" in words for kind in ("best", "worst", "random"))
    assert "AP 87.5 %" in words
    told = json.loads(render_json(evaluation))["ranked"]
    assert [(one["kind"], one["ap"]) for one in told] == [("best", 0.875), ("worst", 0.01), ("random", 0.5)]
