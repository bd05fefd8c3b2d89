"""Which query can be compared with which gallery, and what is said when it cannot."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from reid.errors import UnsupportedPairing, UsageError
from reid.modality import all_subsets, parse_subset
from reid.models.base import ReIDModel

Make = Callable[..., ReIDModel]
CAMERAS = "rgb+nir+tir"
EVERYTHING = "rgb+nir+tir+sketch+text"


@pytest.fixture
def matched(make: Make) -> ReIDModel:
    return make(CAMERAS, fusion="concat")


@pytest.fixture
def any_to_any(make: Make) -> ReIDModel:
    return make(EVERYTHING, fusion="mean")


@pytest.mark.parametrize(
    ("query", "gallery", "common"),
    [
        (CAMERAS, CAMERAS, CAMERAS),
        ("rgb+nir", CAMERAS, "rgb+nir"),
        ("rgb+nir", "nir+tir", "nir"),
        ("tir", "rgb+tir", "tir"),
        ("rgb+text", "rgb+nir+sketch", "rgb"),
    ],
)
def test_matched_models_compare_what_is_common(
    matched: ReIDModel, query: str, gallery: str, common: str
) -> None:
    used = parse_subset(common)
    assert matched.pairing(parse_subset(query), parse_subset(gallery)) == (used, used)


@pytest.mark.parametrize(("query", "gallery"), [("rgb", "nir+tir"), ("nir", "tir")])
def test_nothing_in_common_is_refused_and_another_model_named(
    matched: ReIDModel, query: str, gallery: str
) -> None:
    with pytest.raises(UnsupportedPairing) as caught:
        matched.pairing(parse_subset(query), parse_subset(gallery))
    message = str(caught.value)
    assert repr(query) in message
    assert repr(gallery) in message
    assert "baseline with fusion: mean" in message
    assert isinstance(caught.value, UsageError)


def test_any_to_any_models_take_each_pair_as_it_is(any_to_any: ReIDModel) -> None:
    subsets = all_subsets(parse_subset(EVERYTHING))
    for query in subsets:
        for gallery in subsets:
            assert any_to_any.pairing(query, gallery) == (query, gallery)


@pytest.mark.parametrize(
    ("query", "gallery", "side"), [("sketch", "rgb", "query"), ("rgb", "text", "gallery")]
)
def test_a_modality_that_the_model_never_saw_is_refused_by_side(
    make: Make, matched: ReIDModel, query: str, gallery: str, side: str
) -> None:
    for model in (matched, make("rgb+nir", fusion="mean")):
        with pytest.raises(
            UnsupportedPairing, match=rf"cannot take (sketch|text) on the {side} side.*rgb\+nir"
        ):
            model.pairing(parse_subset(query), parse_subset(gallery))


def test_any_to_any_models_refuse_a_stray_modality_even_beside_known_ones(make: Make) -> None:
    with pytest.raises(UnsupportedPairing, match="cannot take text"):
        make("rgb+nir", fusion="mean").pairing(parse_subset("rgb+text"), parse_subset("rgb"))


def test_the_order_of_naming_is_no_matter(matched: ReIDModel) -> None:
    backwards = parse_subset(CAMERAS)[::-1]
    assert matched.pairing(backwards, backwards) == (parse_subset(CAMERAS),) * 2
