"""Who is compared with whom in a mixed gallery, and what is left out."""

from __future__ import annotations

import pytest

from reid.comparison.mixed import MixedComparison, Stored, compare_mixed
from reid.modality import parse_subset
from tests.support.retrieval.pairwise_rule import RULES

RGB, NIR, BOTH = parse_subset("rgb"), parse_subset("nir"), parse_subset("rgb+nir")
PHOTO: Stored = (RGB,)
INFRARED: Stored = (NIR,)
PAIR: Stored = (RGB, NIR, BOTH)


def found(regime: str, query: str, kinds: dict[Stored, int], calibrated: bool = False) -> MixedComparison:
    return compare_mixed(RULES[regime], parse_subset(query), kinds, lambda q, g: calibrated)


def names(of: MixedComparison) -> list[str]:
    return sorted(group.gallery_name for group in of.groups)


@pytest.mark.parametrize("regime", ["any_to_any", "completed", "decoupled"])
@pytest.mark.parametrize("query", ["nir", "rgb+tir"])
def test_one_scale_ranks_all_items_together(regime: str, query: str) -> None:
    of = found(regime, query, {PHOTO: 5, INFRARED: 2, PAIR: 3})
    assert names(of) == ["rgb+nir|rgb|nir"]
    assert not of.left_out and not of.by_ratio


def test_an_item_with_fewer_modalities_changes_nobody_elses_comparison() -> None:
    for regime, rule in RULES.items():
        before = found(regime, "rgb+nir", {PAIR: 9})
        after = found(regime, "rgb+nir", {PAIR: 9, PHOTO: 1})
        of_pair = [next(g for g in f.groups if PAIR in g.kinds) for f in (before, after)]
        assert of_pair[0].stored[0] == of_pair[1].stored[0] == BOTH, rule
        assert of_pair[0].query == of_pair[1].query == BOTH


def test_matched_items_of_one_common_set_are_one_scale() -> None:
    of = found("matched", "rgb", {PHOTO: 5, PAIR: 3})
    assert names(of) == ["rgb"]
    assert of.groups[0].kinds == {PHOTO, PAIR}


def test_scales_that_are_not_calibrated_leave_out_the_poorer_comparison() -> None:
    of = found("matched", "rgb+nir", {PHOTO: 50, PAIR: 3, INFRARED: 1})
    assert names(of) == ["rgb+nir"]
    assert of.left_out == {PHOTO, INFRARED}


def test_calibrated_scales_are_merged_by_likelihood_ratio() -> None:
    of = found("matched", "rgb+nir", {PHOTO: 50, PAIR: 3, INFRARED: 1}, calibrated=True)
    assert names(of) == ["nir", "rgb", "rgb+nir"]
    assert of.by_ratio and not of.left_out


def test_what_shares_nothing_is_left_out_even_when_calibrated() -> None:
    of = found("matched", "tir", {PHOTO: 5}, calibrated=True)
    assert of.groups == () and of.left_out == {PHOTO}


def test_items_without_any_vector_are_nobodys() -> None:
    assert found("any_to_any", "rgb", {(): 4, PHOTO: 1}).left_out == frozenset()
