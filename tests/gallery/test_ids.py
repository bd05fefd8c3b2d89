"""Ids of gallery items: one spelling each; what may be a stored one is found and never stored beside it."""

from __future__ import annotations

import unicodedata

import pyarrow as pa
import pytest

from reid.gallery.ids import near_id


@pytest.mark.parametrize(
    ("stored", "given"),
    [
        ("Shop/Bag 1", "shop/bag 1"),
        ("shop/bag1", "shop/bag 1"),
        ("0012", "12"),
        ("12", "12.0"),
        ("12,0", "12"),
        ("é/1", "É/1"),
        (unicodedata.normalize("NFD", "é/1"), "é/1"),
    ],
)
def test_a_stored_id_in_another_spelling_is_near(stored: str, given: str) -> None:
    assert near_id(pa.chunked_array([["a"], [stored, "b"]]), given) == stored


@pytest.mark.parametrize("given", ["bag 1", " bag 1", "bag 2", "112", "2", "1.5", "", "bag.1"])
def test_the_same_id_and_another_one_are_not(given: str) -> None:
    assert near_id(pa.array(["bag 1", "12", "a(b", "[", "0"]), given) is None


def test_an_empty_gallery_has_no_id_that_is_near() -> None:
    assert near_id(pa.array([], type=pa.string()), "7") is None
