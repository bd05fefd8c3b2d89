"""Constrains a model's answers to a grammar during decoding, and records the probability of each token."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from reid.generate.caption.grammar import START, Grammar, State, Vocabulary

Measure = Literal["token_mean", "closed_set"]


@dataclass
class _Row:
    """One answer while it is written."""

    state: State = START
    text: str = ""
    steps: list[tuple[int, int, float]] = field(default_factory=list)
    """(start, end, probability) of each token in characters of the text."""


class HeldToGrammar:
    """A logits processor of `transformers`: greedy, and only over tokens that the grammar allows.

    The token is chosen here, so that its probability is known. The confidence of a value is the mean over its
    tokens of their probability under the whole vocabulary (`token_mean`), or the value's probability among
    all values: the product over its tokens of their probability among those allowed (`closed_set`). One
    object serves one call of `generate`.
    """

    def __init__(self, grammar: Grammar, vocabulary: Vocabulary, rows: int, measure: Measure) -> None:
        self.grammar, self.vocabulary, self.measure = grammar, vocabulary, measure
        self.rows = [_Row() for _ in range(rows)]
        self._allowed: dict[State, tuple[Tensor, list[str]]] = {}

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores (rows, vocabulary) -> the same with all but one token a row at minus infinity."""
        chosen = torch.full_like(scores, -torch.inf)
        for i, row in enumerate(self.rows):
            tokens, strings = self._next(row.state)
            logits = scores[i].float()
            among = logits[tokens.to(scores.device)]
            best = int(among.argmax())
            if row.state != self.grammar.end:
                whole = among if self.measure == "closed_set" else logits
                probability = float((among[best] - whole.logsumexp(0)).exp())
                self._write(row, strings[best], probability)
            chosen[i, tokens[best]] = 0
        return chosen

    def answers(self) -> list[tuple[str, list[float]]]:
        """Each row's text, and the confidence of each choice in it."""
        return [(row.text, self._confidences(row)) for row in self.rows]

    def _next(self, state: State) -> tuple[Tensor, list[str]]:
        if state not in self._allowed:
            allowed = self.vocabulary.allowed(self.grammar, state)
            self._allowed[state] = torch.tensor(list(allowed)), list(allowed.values())
        return self._allowed[state]

    def _write(self, row: _Row, string: str, probability: float) -> None:
        after = self.grammar.advance(row.state, string)
        assert after is not None, "an allowed token stays within the grammar"
        row.steps.append((len(row.text), len(row.text) + len(string), probability))
        row.state, row.text = after, row.text + string

    def _confidences(self, row: _Row) -> list[float]:
        found: list[float] = []
        for start, end in self.grammar.choices(row.text):
            if self.measure == "closed_set":  # the chain of choices down to the closing quote
                found.append(math.prod(p for a, b, p in row.steps if a <= end and b > start))
            else:
                touched = [p for a, b, p in row.steps if a < end and b > start]
                found.append(sum(touched) / len(touched))
        return found
