"""How labels are compared: what says nothing, what is one label, and what is doubtful."""

from __future__ import annotations

import unicodedata

import pytest

from reid.data.labels import Blanks, alike, is_nothing, refuse_alike, tidy, whole_number
from reid.errors import DataError

WORDS = [
    *[
        "nan",
        "NaN",
        "NAN",
        "-nan",
        "None",
        "none",
        "null",
        "NULL",
        "NA",
        "N/A",
        "n/a",
        "#N/A",
        "<NA>",
        "NaT",
        "-",
        "–",
        "#NULL!",
    ]
]


@pytest.mark.parametrize("value", [None, float("nan"), "", " ", "\u00a0", "\ufeff", " nan ", *WORDS])
def test_words_for_nothing(value: object) -> None:
    assert is_nothing(value)


@pytest.mark.parametrize("value", ["0", 0, False, "Nancy", "Nat", "nano", "a-b", "no", "unknown", [], "-1"])
def test_everything_else_is_something(value: object) -> None:
    assert not is_nothing(value)


def test_unknown_says_nothing_where_it_can_be_no_label() -> None:
    assert is_nothing("unknown", unknown=True) and is_nothing(" UNKNOWN", unknown=True)
    assert not is_nothing("unknown-7", unknown=True)


@pytest.mark.parametrize(
    ("spelled", "label"),
    [
        (unicodedata.normalize("NFD", "Zoë"), "Zoë"),
        ("\t7\u00a0", "7"),
        ("\ufeffcar", "car"),
        ("bus\u200b", "bus"),
        ("０12", "012"),
        ("red  car", "red  car"),
    ],
)
def test_what_only_a_tool_changed_is_one_label(spelled: str, label: str) -> None:
    assert tidy(spelled) == label
    assert tidy(label) == label


@pytest.mark.parametrize(
    ("one", "other", "words"),
    [
        ("Bus 12", "bus 12", "letter case"),
        ("Straße", "STRASSE", "letter case"),
        ("bus 12", "bus  12", "spaces or spelling"),
        ("bus12", "bus 12", "spaces or spelling"),
        ("12", "0012", "number 12"),
        ("12", "12.0", "number 12"),
        ("٧", "7", "spaces or spelling"),
    ],
)
def test_doubtful_pairs_are_refused_with_both_spellings(one: str, other: str, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        refuse_alike([other, "else", one], "cameras", "list.csv")
    assert repr(one) in str(caught.value) and repr(other) in str(caught.value)
    assert "list.csv: the cameras" in str(caught.value)


def test_different_labels_are_not_doubtful() -> None:
    refuse_alike(["7", "70", "0.7", "7a", "a7", "-7", "bus", "bust", "José", "Jose"], "identities")


def test_spellings_that_look_the_same_are_shown_in_plain_characters() -> None:
    with pytest.raises(DataError, match=r"'a\\u3000b' and|and 'a\\u3000b'"):
        refuse_alike(["a b", "a\u3000b"], "identities")


def test_numbers_as_tables_with_gaps_spell_them() -> None:
    assert [whole_number(x) for x in ("7", "007", "7.0", 7.0, "-3", " 7 ")] == [7, 7, 7, 7, -3, 7]
    assert [whole_number(x) for x in ("7.5", 7.5, "1.000", "1e3", "", None, True, "7x")] == [None] * 8
    assert alike("7.0") == alike("007") != alike("7.5")


def test_words_for_nothing_are_counted_but_blanks_are_not() -> None:
    blanks = Blanks()
    assert [blanks.cell("camid", c, unknown=True) for c in ("1", "", " ", "nan", "unknown", "nan")] == [
        "1",
        *[""] * 5,
    ]
    assert blanks.counts("text", None) and not blanks.counts("text", "a hat")
    (line,) = blanks.notes("list.csv")
    assert line.startswith("list.csv: camid 'nan' (2), 'unknown' (1) are read as empty; ")
