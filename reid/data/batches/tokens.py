"""Turns sentences into CLIP's byte-pair tokens."""

from __future__ import annotations

from torch import Tensor

CONTEXT = 77


def tokenize(texts: list[str], context: int = CONTEXT) -> Tensor:
    """Token ids (n, context) int64; a longer text is cut and keeps its end token."""
    import open_clip

    ids: Tensor = open_clip.tokenize(texts, context_length=context)
    return ids
