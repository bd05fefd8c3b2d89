"""Answers held to a closed set: the language, the tokens that may come next, and the confidences."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from reid.errors import WeightsError
from reid.generate.caption.attribute_schema import AttributeQuestion, AttributeSchema
from reid.generate.caption.constrained_decoding import HeldToGrammar, Measure
from reid.generate.caption.grammar import START, Grammar, State, Vocabulary, json_grammar
from reid.generate.caption.shipped_attributes import SHIPPED
from tests.support.models.tiny_vlm import tokenizer

SCHEMA = AttributeSchema(
    subject="person",
    attributes=(
        AttributeQuestion(name="dress", ask="clothes", values={"dress": "dress", "dress shoes": "shoes"}),
        AttributeQuestion(name="glasses", ask="glasses", values={"yes": "glasses", "no": ""}),
    ),
    sentence=(("{dress}",), (" {glasses}",)),
)
GRAMMAR = json_grammar(SCHEMA)
TEXT = '{"dress": "dress shoes", "glasses": "no"}'


class Words:
    """A tokenizer whose tokens are these strings; the last one ends a text."""

    all_special_ids: tuple[int, ...] = ()

    def __init__(self, *strings: str) -> None:
        self.strings = strings

    def __len__(self) -> int:
        return len(self.strings)

    def encode(self, text: str, add_special_tokens: bool) -> list[int]:
        return [self.strings.index(text)]

    def decode(self, ids: list[int], **_: Any) -> str:
        return "".join(self.strings[i] for i in ids)

    def batch_decode(self, many: list[list[int]], **_: Any) -> list[str]:
        return [self.decode(ids) for ids in many]


def words(*strings: str) -> Vocabulary:
    return Vocabulary(Words(*strings, "{", "</s>"), [len(strings) + 1])


@pytest.mark.parametrize("cut", range(1, len(TEXT)))
def test_a_text_of_the_language_may_be_cut_into_tokens_anywhere(cut: int) -> None:
    state = GRAMMAR.advance(START, TEXT[:cut])
    assert state is not None
    assert GRAMMAR.advance(state, TEXT[cut:]) == GRAMMAR.end


@pytest.mark.parametrize("text", ["[", '{"dress": "skirt', '{"dress": "dress"}', TEXT + " ", TEXT[:-1] + ","])
def test_what_is_not_in_the_language_has_no_state(text: str) -> None:
    assert GRAMMAR.advance(START, text) is None


def test_every_shipped_schema_makes_json_of_its_first_values() -> None:
    for schema in SHIPPED.values():
        grammar = json_grammar(schema)
        text = "".join(texts[0] for texts in grammar.segments)
        first = {a.name: next(iter(a.values)) for a in schema.attributes}
        assert json.loads(text) == first
        assert [text[a:b] for a, b in grammar.choices(text)] == list(first.values())
        assert len(text) <= grammar.longest


def test_tokens_may_end_a_value_and_begin_what_follows() -> None:
    state = GRAMMAR.advance(START, '{"dress": "dress')
    assert state is not None
    strings = set(GRAMMAR.strings(state, 6))
    assert {'"', '", "gl', " ", " shoes"} <= strings
    assert '"}' not in strings


def test_only_tokens_within_the_language_are_allowed_and_ends_only_at_the_end() -> None:
    grammar = Grammar((("a",), ('no"', 'now"'), ("z",)))
    vocabulary = words("a", "an", "no", "w", '"', '"z', "x", "n", "o", "z")
    state = grammar.advance(START, "a")
    assert state == State(1, "")
    assert set(vocabulary.allowed(grammar, START).values()) == {"a", "an"}
    assert set(vocabulary.allowed(grammar, state).values()) == {"no", "n"}
    later = grammar.advance(state, "no")
    assert later is not None
    assert set(vocabulary.allowed(grammar, later).values()) == {"w", '"', '"z'}
    assert list(vocabulary.allowed(grammar, grammar.end)) == list(vocabulary.ends)


def test_a_tokenizer_that_lacks_a_character_is_refused() -> None:
    with pytest.raises(WeightsError, match=r"no token for 'z' alone.*constrain=false"):
        words("a", "b").check(Grammar((("a", "bz"),)))


def test_blanks_that_a_tokenizer_writes_as_a_mark_are_blanks() -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE({"{": 0, "▁red": 1, "red": 2, "</s>": 3}, []))
    raw.pre_tokenizer = pre_tokenizers.Metaspace()
    raw.decoder = decoders.Metaspace()
    vocabulary = Vocabulary(PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="</s>"), [3])
    assert vocabulary.ids[" red"] == [1] and vocabulary.ids["red"] == [2]


def test_random_scores_always_make_an_answer_of_the_schema() -> None:
    vocabulary = Vocabulary(tokenizer(), [2])
    for schema in SHIPPED.values():
        grammar = json_grammar(schema)
        vocabulary.check(grammar)
        held = HeldToGrammar(grammar, vocabulary, 3, "token_mean")
        ids = torch.zeros(3, 1, dtype=torch.long)
        for _ in range(grammar.longest + 1):
            scores = held(ids, torch.randn(3, len(tokenizer())))
            assert torch.isfinite(scores).sum(1).tolist() == [1, 1, 1]
        assert scores.argmax(1).tolist() == [2, 2, 2]  # all have ended
        for text, confidences in held.answers():
            values = json.loads(text)
            assert all(values[a.name] in a.values for a in schema.attributes)
            assert len(confidences) == len(schema.attributes)
            assert all(0 < c <= 1 for c in confidences)


@pytest.mark.parametrize(
    ("measure", "expected"),
    # "r" has 1/2 of all and is the only one allowed of its kind: 0.5 / (0.5 + 0.25) of r and b.
    # Then "ed" has 1/4 of all, and nothing else is allowed.
    [("token_mean", (0.5 + 0.25) / 2), ("closed_set", 2 / 3)],
)
def test_confidence_is_of_all_tokens_or_of_those_allowed(measure: Measure, expected: float) -> None:
    grammar = Grammar((("<",), ('red"', 'blue"'), (">",)))
    vocabulary = words("<", "r", "b", "ed", "lue", '"', ">", "x")
    held = HeldToGrammar(grammar, vocabulary, 1, measure)
    ids = torch.zeros(1, 1, dtype=torch.long)

    def step(**shares: float) -> None:
        names = {"lt": "<", "quote": '"', "gt": ">"}
        scores = torch.full((1, 10), -torch.inf)
        for name, share in shares.items():
            (token,) = vocabulary.ids[names.get(name, name)]
            scores[0, token] = torch.tensor(share).log()
        held(ids, scores)

    step(lt=1.0)
    step(r=0.5, b=0.25, x=0.25)
    step(ed=0.25, x=0.75)
    step(quote=1.0)
    step(gt=1.0)
    ((text, confidences),) = held.answers()
    assert text == '<red">'
    assert confidences == pytest.approx([expected])
