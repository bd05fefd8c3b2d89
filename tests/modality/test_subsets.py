"""Modalities: names, canonical order, subsets."""

from __future__ import annotations

import pytest

from reid.errors import UsageError
from reid.modality import (
    CAMERA,
    ORDER,
    PUBLISHED,
    VISUAL,
    all_subsets,
    canonical,
    parse_modality,
    parse_subset,
    subset_name,
)

RGB, NIR, TIR, SKETCH, TEXT = PUBLISHED


def test_the_canonical_order_is_fixed() -> None:
    # Files and feature layouts depend on this order.
    assert [m.value for m in ORDER] == ["rgb", "nir", "tir", "sketch", "cp", "depth", "text"]
    assert ORDER[:-1] == VISUAL
    assert CAMERA == (RGB, NIR, TIR)
    assert canonical(PUBLISHED) == PUBLISHED == (RGB, NIR, TIR, SKETCH, TEXT)


def test_only_text_is_not_visual() -> None:
    assert [m for m in ORDER if not m.is_visual] == [TEXT]


@pytest.mark.parametrize("name", ["sketch", "Sketch", " SKETCH "])
def test_names_are_read_leniently(name: str) -> None:
    assert parse_modality(name) is SKETCH


def test_an_unknown_name_suggests_the_nearest_and_lists_all() -> None:
    with pytest.raises(UsageError, match=r"'skech'.*Did you mean 'sketch'\?.*rgb, nir") as caught:
        parse_modality("skech")
    assert caught.value.exit_code == 2


def test_a_far_fetched_name_gets_no_suggestion() -> None:
    with pytest.raises(UsageError) as caught:
        parse_modality("xyzzy")
    assert "Did you mean" not in str(caught.value)


@pytest.mark.parametrize(
    "spelling",
    ["text+sketch", "sketch+text", "sketch + text + sketch", ["text", "sketch"], (TEXT, SKETCH)],
)
def test_subsets_are_canonical_however_spelled(spelling: str | list[str]) -> None:
    assert parse_subset(spelling) == (SKETCH, TEXT)


@pytest.mark.parametrize("empty", ["", " + ", []])
def test_an_empty_subset_is_refused(empty: str | list[str]) -> None:
    with pytest.raises(UsageError, match="Empty modality subset"):
        parse_subset(empty)


def test_names_of_subsets_round_trip() -> None:
    for subset in all_subsets(ORDER):
        assert parse_subset(subset_name(subset)) == subset


def test_canonical_sorts_and_drops_duplicates() -> None:
    assert canonical([TEXT, RGB, TEXT]) == (RGB, TEXT)
    assert canonical([]) == ()


def test_all_subsets_come_smallest_first_and_once() -> None:
    assert all_subsets([TIR, RGB]) == [(RGB,), (TIR,), (RGB, TIR)]
    subsets = all_subsets(ORDER)
    assert len(subsets) == len(set(subsets)) == 2**7 - 1
    assert [len(s) for s in subsets] == sorted(len(s) for s in subsets)
    assert all(s == canonical(s) for s in subsets)
