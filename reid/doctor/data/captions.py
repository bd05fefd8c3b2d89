"""Faults of captions: too long, shared by several identities, letters that the tokenizer does not know."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from reid.data.batches.tokens import CONTEXT, may_be_long, tokenize, unread
from reid.doctor.data.source import ExaminedSample
from reid.doctor.finding import Finding, ProgressBar, no_progress

_CHUNK = 512
_SHOWN = 100


def check_captions(entries: Sequence[ExaminedSample], watch: ProgressBar = no_progress) -> list[Finding]:
    """Findings about all captions; each distinct one is looked at once."""
    owners: dict[str, set[tuple[str, int]]] = defaultdict(set)
    example: dict[str, ExaminedSample] = {}
    total = 0
    for entry in entries:
        for caption in entry.sample.captions:
            total += 1
            owners[caption.text].add(entry.identity)
            example.setdefault(caption.text, entry)
    found = [_long(example, watch), _shared(owners, total, example), _foreign(example)]
    return [f for f in found if f is not None]


def _long(example: dict[str, ExaminedSample], watch: ProgressBar) -> Finding | None:
    doubtful = [t for t in example if may_be_long(t)]
    seen = watch("captions", len(doubtful))
    cut: list[str] = []
    for start in range(0, len(doubtful), _CHUNK):
        texts = doubtful[start : start + _CHUNK]
        ids = tokenize(texts, CONTEXT + 1)  # (n, 78): a text that fits leaves the last place empty
        cut += [t for t, last in zip(texts, ids[:, -1].tolist(), strict=True) if last]
        seen(len(texts))
    if not cut:
        return None
    return Finding(
        "warning",
        "long-caption",
        f"{len(cut)} of {len(example)} distinct captions are longer than {CONTEXT} tokens and are cut there.",
        f"{example[cut[0]].name}: {_short(cut[0])} ({unread(cut[0])})",
        "put what distinguishes the object first, or split the text into several captions",
        len(cut),
        tuple(example[text].file() for text in cut),
    )


def _shared(
    owners: dict[str, set[tuple[str, int]]], total: int, example: dict[str, ExaminedSample]
) -> Finding | None:
    alike: dict[str, set[tuple[str, int]]] = defaultdict(set)
    for text, identities in owners.items():
        alike[" ".join(text.casefold().split())] |= identities
    shared = {text: identities for text, identities in alike.items() if len(identities) > 1}
    if not shared:
        return None
    text, identities = max(shared.items(), key=lambda item: len(item[1]))
    files = tuple(e.file() for text, e in example.items() if " ".join(text.casefold().split()) in shared)
    who = ", ".join(str(pid) for _, pid in sorted(identities)[:5])
    return Finding(
        "warning",
        "shared-caption",
        f"Captions that describe several identities: {len(shared)} of {len(alike)} distinct ones ({total} in "
        "all); training pulls these identities together, and such a query cannot distinguish them.",
        f"{_short(text)!r}: identities {who}{', …' if len(identities) > 5 else ''}",
        "describe what differs, or drop the caption from all but one",
        len(shared),
        files,
    )


def _foreign(example: dict[str, ExaminedSample]) -> Finding | None:
    foreign = [t for t in example if any(c.isalpha() and not c.isascii() for c in t)]
    if not foreign:
        return None
    return Finding(
        "info",
        "foreign-caption",
        f"Captions with letters that English has not: {len(foreign)}; CLIP's text towers learned English.",
        f"{example[foreign[0]].name}: {_short(foreign[0])}",
        "translate them, or repair the file's encoding",
        len(foreign),
        tuple(example[text].file() for text in foreign),
    )


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
