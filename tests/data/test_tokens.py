"""How much of a text is read."""

from __future__ import annotations

import pytest

from reid.data.batches.tokens import unread


def test_what_fits_is_read_whole() -> None:
    assert unread("coat " * 75) is None
    assert unread("") is None
    assert unread("internationalisation " * 10) is None, "many bytes, few tokens"


@pytest.mark.parametrize(
    ("text", "tokens", "rest"),
    [
        ("coat " * 75 + "and a hat", 78, "and a hat"),
        ("hat! " * 40, 80, "hat! hat! hat!"),  # two tokens a word, 75 fit: the 38th is cut in two
        ("rot\nund\t blau " * 50, None, "…"),
    ],
)
def test_the_first_word_that_was_not_read_is_named(text: str, tokens: int | None, rest: str) -> None:
    told = unread(text)
    assert told is not None and told.startswith("the first 75 of ")
    assert tokens is None or told.startswith(f"the first 75 of {tokens} tokens; the words from ")
    assert rest in told and told.endswith(" on were not read")


def test_the_context_is_the_callers() -> None:
    assert unread("a red coat and a hat", context=6) == (
        'the first 4 of 6 tokens; the words from "a hat" on were not read'
    )
