"""Merges attributes from several views of a capture, and makes one sentence (STMI, arXiv 2603.00695).

The paper merges with a language model; the rule here is deterministic and needs none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from reid.data.batches.tokens import CONTEXT, tokenize
from reid.data.shards.schema import SampleAttribute
from reid.generate.caption.attribute_schema import AttributeSchema, slots_of
from reid.modality import CAMERA

SOURCES = ("ALL", *(m.entry.caption_view for m in CAMERA))
"""All modalities in one picture, and each alone; in the order in which ties are decided."""
_ARTICLE = re.compile(r"\b([Aa]) (?=[AEIOaeio]|umbrella|SUV)")


def merge_attributes(
    records: Sequence[SampleAttribute], schema: AttributeSchema, weights: Mapping[str, float]
) -> dict[str, SampleAttribute]:
    """For each attribute the statement with the largest confidence × source weight."""
    merged: dict[str, SampleAttribute] = {}
    for attribute in schema.attributes:
        stated = [r for r in records if r.name == attribute.name]
        if stated:
            stated.sort(key=lambda r: SOURCES.index(str(r.source)))
            # max takes the first of equals.
            merged[attribute.name] = max(
                stated, key=lambda r: (r.confidence or 0.0) * weights.get(str(r.source), 1.0)
            )
    return merged


def above_confidence(merged: Mapping[str, SampleAttribute], least: float) -> dict[str, SampleAttribute]:
    """The attributes with at least this confidence."""
    return {name: a for name, a in merged.items() if (a.confidence or 0.0) >= least}


def attribute_words(attributes: Mapping[str, SampleAttribute], schema: AttributeSchema) -> dict[str, str]:
    """The words of each attribute in the sentence; attributes without words are left out."""
    found = {name: schema.attribute(name).values[a.value] for name, a in attributes.items()}
    return {name: text for name, text in found.items() if text}


def attribute_sentence(attributes: Mapping[str, SampleAttribute], schema: AttributeSchema) -> str:
    """The schema's sentence with these attributes; parts that lack one are left out."""
    known = attribute_words(attributes, schema)
    parts = []
    for alternatives in schema.sentence:
        fitting = (text for text in alternatives if all(slot in known for slot in slots_of(text)))
        parts.append(next(fitting, "").format(**known))
    text = _ARTICLE.sub(r"\1n ", "".join(parts)).strip(" ,")
    return text[:1].upper() + text[1:] + "."


def fitting_sentence(
    attributes: Mapping[str, SampleAttribute], schema: AttributeSchema, limit: int = CONTEXT
) -> tuple[str, dict[str, SampleAttribute]]:
    """The sentence and its attributes; the least confident ones are dropped until it fits `limit` tokens."""
    kept = dict(attributes)
    while True:
        text = attribute_sentence(kept, schema)
        if token_length(text) <= limit or not kept:
            return text, kept
        kept.pop(min(kept, key=lambda name: kept[name].confidence or 0.0))


def sentence_faults(
    text: str, attributes: Mapping[str, SampleAttribute], schema: AttributeSchema, limit: int = CONTEXT
) -> list[str]:
    """The problems of a sentence about these attributes, one remark each; empty if there is none."""
    low = text.lower()
    found = [
        f"it does not say {w!r}" for w in attribute_words(attributes, schema).values() if w.lower() not in low
    ]
    if "unknown" in low:
        found.append("it says 'unknown'")
    if re.search(r"[{}<>\n]", text):
        found.append("it is not one plain sentence")
    if not text.strip():
        found.append("it is empty")
    elif (count := token_length(text)) > limit:
        found.append(f"it is {count} tokens long, over {limit}")
    return found


def token_length(text: str) -> int:
    """Length in CLIP's byte pairs, start and end included."""
    room = CONTEXT
    while True:
        used = int(tokenize([text], room).argmax()) + 1  # the end token has the largest number
        if used < room:
            return used
        room *= 2
