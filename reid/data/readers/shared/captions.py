"""Sentences as JSON files give them, for every reader."""

from __future__ import annotations

from typing import Any

from reid.data.labels import Blanks
from reid.errors import DataError


def sentences(value: Any, where: str, blanks: Blanks) -> list[dict[str, Any]]:
    """The sentences of one key: {"text": …} with what else is said of each; those that say nothing left out.

    Args:
        value: a text, {"text": …}, or a list of them.
        where: file and key, for messages.
        blanks: counts the words for nothing.

    Raises DataError for anything else.

    >>> sentences(["a hat", None, {"text": "a coat", "confidence": 0.5}], "captions.json: 'a'", Blanks())
    [{'text': 'a hat'}, {'text': 'a coat', 'confidence': 0.5}]
    """
    values = value if isinstance(value, list) else [value]
    entries = [v if isinstance(v, dict) else {"text": v} for v in values]
    if not all("text" in v for v in entries):
        raise DataError(f"{where} has no text: {value!r}.")
    said = [v for v in entries if not blanks.counts("text", v["text"], unknown=True)]
    if not all(isinstance(v["text"], str) for v in said):
        raise DataError(f"{where} has no text, or one that is no text: {value!r}.")
    if not all(map(is_writable, (v["text"] for v in said))):
        raise DataError(f"{where} has half a character, which cannot be stored: {value!a}; correct it.")
    return said


def is_writable(text: str) -> bool:
    """Whether a text has a spelling in UTF-8: JSON can spell half of a character, such as "\\ud83d".

    >>> is_writable("café"), is_writable("\\ud83d")
    (True, False)
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
