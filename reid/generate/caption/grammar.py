"""A grammar of JSON objects with closed sets of values, for constrained decoding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from reid.errors import WeightsError
from reid.generate.caption.attribute_schema import AttributeSchema

_LONGEST = 48
"""Tokens of more characters are left out: none is needed to spell a value."""


@dataclass(frozen=True)
class State:
    """Which segment is being written, and what of it is there."""

    segment: int
    text: str


START = State(0, "")


@dataclass(frozen=True)
class Grammar:
    """Segments one after another, each one of several texts of which none begins another."""

    segments: tuple[tuple[str, ...], ...]

    @property
    def end(self) -> State:
        """The state after the last character."""
        return State(len(self.segments), "")

    @property
    def longest(self) -> int:
        """Characters of the longest text of the language."""
        return sum(max(map(len, texts)) for texts in self.segments)

    def advance(self, state: State, string: str) -> State | None:
        """The state after `string`; None where it leaves the language."""
        rest, segment = state.text + string, state.segment
        while segment < len(self.segments):
            done = next((t for t in self.segments[segment] if rest.startswith(t)), None)
            if done is None:
                begun = any(t.startswith(rest) for t in self.segments[segment])
                return State(segment, rest) if begun else None
            rest, segment = rest[len(done) :], segment + 1
        return None if rest else self.end

    def strings(self, state: State, longest: int) -> Iterator[str]:
        """All non-empty strings of up to `longest` characters that may come next."""
        if state == self.end or longest <= 0:
            return
        seen = set()
        for text in self.segments[state.segment]:
            if text.startswith(state.text):
                tail = text[len(state.text) :]
                for size in range(1, min(len(tail), longest) + 1):
                    if tail[:size] not in seen:
                        seen.add(tail[:size])
                        yield tail[:size]
                for more in self.strings(State(state.segment + 1, ""), longest - len(tail)):
                    yield tail + more

    def choices(self, text: str) -> list[tuple[int, int]]:
        """Where the values stand in a whole text of the language: (start, end) of each, without the quote."""
        found, at = [], 0
        for texts in self.segments:
            taken = next(t for t in texts if text.startswith(t, at))
            if len(texts) > 1:
                found.append((at, at + len(taken) - 1))
            at += len(taken)
        return found


def json_grammar(schema: AttributeSchema) -> Grammar:
    """`{"gender": "male", …}` in the schema's order. A value's text ends with its closing quote."""
    segments: list[tuple[str, ...]] = []
    opening = "{"
    for attribute in schema.attributes:
        segments += [(f'{opening}"{attribute.name}": "',), tuple(f'{v}"' for v in attribute.values)]
        opening = ", "
    return Grammar((*segments, ("}",)))


class Vocabulary:
    """The strings that a tokenizer's tokens add to a text, and the tokens that end it."""

    def __init__(self, tokenizer: Any, ends: Sequence[int]) -> None:
        """Raises WeightsError when there is no end token."""
        if not ends:
            raise WeightsError("the model has no end-of-sequence token, so its answers would not end.")
        self.ends = tuple(ends)
        self.ids: dict[str, list[int]] = {}
        special = {*tokenizer.all_special_ids, *ends}
        # Decoded behind an anchor: alone, some tokenizers drop the blank that a token begins with.
        anchor = tokenizer.encode("{", add_special_tokens=False)[-1]
        pairs = [[anchor, i] for i in range(len(tokenizer)) if i not in special]
        options = {"skip_special_tokens": False, "clean_up_tokenization_spaces": False}
        before = tokenizer.decode([anchor], **options)
        for (_, i), text in zip(pairs, tokenizer.batch_decode(pairs, **options), strict=True):
            string = text[len(before) :]
            if text.startswith(before) and 0 < len(string) <= _LONGEST and string.isascii():
                self.ids.setdefault(string, []).append(i)
        self.longest = max(map(len, self.ids), default=0)

    def check(self, grammar: Grammar) -> None:
        """Raise WeightsError unless every character of the language is a token: then there is no dead end."""
        needed = {c for texts in grammar.segments for text in texts for c in text}
        if lacking := sorted(needed - set(self.ids)):
            raise WeightsError(
                f"the tokenizer has no token for {lacking[0]!r} alone, so it cannot be held to the schema; "
                "set params.constrain=false."
            )

    def allowed(self, grammar: Grammar, state: State) -> dict[int, str]:
        """Tokens that may come next, and what each writes; the end tokens (writing nothing) at the end."""
        if state == grammar.end:
            return dict.fromkeys(self.ends, "")
        strings = (s for s in grammar.strings(state, self.longest) if s in self.ids)
        return {i: s for s in strings for i in self.ids[s]}
