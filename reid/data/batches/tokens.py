"""Turns sentences into CLIP's byte-pair tokens."""

from __future__ import annotations

from torch import Tensor

CONTEXT = 77
_MARKS = 2
"""Tokens of the context that mark begin and end."""
_SHOWN = 40


def tokenize(texts: list[str], context: int = CONTEXT) -> Tensor:
    """Token ids (n, context) int64; a longer text is cut and keeps its end token."""
    import open_clip

    ids: Tensor = open_clip.tokenize(texts, context_length=context)
    return ids


def may_be_long(text: str, context: int = CONTEXT) -> bool:
    """Whether a text can be longer than the context at all: a token covers at least one byte, no space."""
    return len("".join(text.split()).encode()) > context - _MARKS


def unread(text: str, context: int = CONTEXT) -> str | None:
    """How much of a text is read, when it is longer than the context; None when all of it is.

    >>> unread("a red coat")
    >>> unread("a red coat, " * 30)
    'the first 75 of 120 tokens; the words from "coat, a red coat, a red coat, a red coat…" on were not read'
    """
    if not may_be_long(text, context):
        return None
    words = text.split()
    longest = max(len(word.encode()) for word in words)
    # The end's id is the largest of all; "!" has the id 0 of what is empty.
    lengths = tokenize(words, longest * 4 + _MARKS).argmax(1) - 1  # (words,)
    total, room = int(lengths.sum()), context - _MARKS
    if total <= room:
        return None
    left = int((lengths.cumsum(0) <= room).sum())
    rest = " ".join(words[left:])
    shown = rest if len(rest) <= _SHOWN else f"{rest[:_SHOWN]}…"
    return f'the first {room} of {total} tokens; the words from "{shown}" on were not read'
