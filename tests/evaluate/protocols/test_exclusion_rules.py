"""Every exclusion rule on an example to check by eye: one query, and the items that it drops."""

from __future__ import annotations

import pytest

from reid.evaluate.protocols.exclusion_rules import RULES
from reid.evaluate.protocols.items import GalleryItem, Provenance, QueryPart, SampleLabels, make_query
from reid.evaluate.protocols.label_arrays import label_arrays_of
from reid.modality import Modality
from tests.support.retrieval.evaluation_rows import CAPTURED, GENERATED, dropped, infrared, row

RGB, NIR, SKETCH, TEXT = Modality.RGB, Modality.NIR, Modality.SKETCH, Modality.TEXT

ASKING = row("q", 0, 1, location="hall", content_hash="abc")
OTHERS = [
    row("same identity, camera, place", 0, 1, location="hall"),
    row("same identity, camera", 0, 1, location="yard"),
    row("same identity, place", 0, 2, location="hall"),
    row("same identity", 0, 2, location="yard"),
    row("stranger, same camera", 5, 1, location="yard"),
    row("stranger, same place", 5, 2, location="hall"),
    row("stranger", 5, 2, location="yard"),
    row("nothing known", 0),
    row("another data set's", 0, 1, location="hall", dataset="other"),
    row("the same file", 0, 2, location="yard", content_hash="abc"),
    infrared("infrared", 0, 2, location="yard"),
]
EXPECTED = {
    "same_sample": ["q"],
    "same_camera": ["q", "same identity, camera, place", "same identity, camera"],
    "same_scene": ["q", "same identity, camera, place", "same identity, place"],
    "camera": ["q", "same identity, camera, place", "same identity, camera", "stranger, same camera"],
    "location": ["q", "same identity, camera, place", "same identity, place", "stranger, same place"],
    "identical_file": ["q", "the same file"],
    "same_modality": [
        "q",
        "same identity, camera, place",
        "same identity, camera",
        "same identity, place",
        "same identity",
        "nothing known",
        "the same file",
    ],
    "leakage": [],
    "source_camera": [],
}


def items(labels: list[SampleLabels]) -> list[GalleryItem]:
    """Every sample by its first image."""
    return [
        GalleryItem(
            r.sample_id,
            r.pid,
            r.camid,
            {next(iter(r.images or {})): QueryPart(r.sample_id)},
            None,
            r.location,
        )
        for r in labels
    ]


@pytest.mark.parametrize("rule", RULES)
def test_a_captured_photo_drops(rule: str) -> None:
    labels = [ASKING, *OTHERS]
    query = make_query([(RGB, ASKING, None)])
    mask = dropped(rule, [query], items(labels), labels)[0]
    assert [r.sample_id for r, drop in zip(labels, mask, strict=True) if drop] == EXPECTED[rule]


@pytest.mark.parametrize("rule", ["same_camera", "same_scene", "camera", "location", "identical_file"])
def test_what_is_not_known_equals_nothing(rule: str) -> None:
    asking = row("q", 0)
    labels = [asking, row("nothing known either", 0), *OTHERS]
    mask = dropped(rule, [make_query([(RGB, asking, None)])], items(labels), labels)[0]
    assert not any(mask)


PHOTO = row("photo", 0, 1)
SAME_CAMERA = row("beside it", 5, 1)
ELSEWHERE = row("elsewhere", 0, 2)
DRAWN = row("drawn", 0, 7, images={SKETCH: Provenance("generated", "photo")})
OWN = row("own", 0, 2, images={RGB: CAPTURED, SKETCH: GENERATED}, captions=(GENERATED, CAPTURED))


def test_leakage_drops_the_source_and_what_came_from_the_same_source() -> None:
    labels = [PHOTO, SAME_CAMERA, ELSEWHERE, DRAWN, OWN]
    drawn, own = make_query([(SKETCH, DRAWN, None)]), make_query([(SKETCH, OWN, None)])
    assert dropped("leakage", [drawn, own], items(labels), labels) == [[1, 0, 0, 1, 0], [0, 0, 0, 0, 1]]
    said = [make_query([(TEXT, OWN, i)]) for i in (0, 1)]  # the first sentence was generated from the photo
    assert dropped("leakage", said, items(labels), labels) == [[0, 0, 0, 0, 1], [0, 0, 0, 0, 0]]


def test_source_camera_drops_everything_from_where_the_source_was_taken() -> None:
    labels = [PHOTO, SAME_CAMERA, ELSEWHERE, DRAWN, OWN]
    drawn, own = make_query([(SKETCH, DRAWN, None)]), make_query([(SKETCH, OWN, None)])
    assert dropped("source_camera", [drawn, own], items(labels), labels) == [
        [1, 1, 0, 0, 0],
        [0, 0, 1, 0, 1],
    ]


def test_a_query_of_two_modalities_shares_one_with_an_item_that_has_either() -> None:
    both = row("both", 0, 3, images={RGB: CAPTURED, NIR: CAPTURED})
    labels = [both, row("photo", 0), infrared("warm", 0), row("sentence", 0, images={}, captions=(CAPTURED,))]
    asking = make_query([(RGB, both, None), (NIR, both, None)])
    found = [
        GalleryItem("photo", 0, None, {RGB: QueryPart("photo")}),
        GalleryItem("warm", 0, None, {NIR: QueryPart("warm")}),
        GalleryItem("sentence", 0, None, {TEXT: QueryPart("sentence", 0)}),
    ]
    assert dropped("same_modality", [asking], found, labels) == [[1, 1, 0]]
    q, g = label_arrays_of([asking], found, labels)
    assert (q.visual.tolist(), g.visual.tolist()) == ([True], [True, True, False])


def test_rules_have_words_for_the_report_and_the_table_above_covers_them() -> None:
    assert set(EXPECTED) == set(RULES)
    assert all(rule.words and not rule.words.endswith(".") for rule in RULES.values())
