"""Sentences from colours and patterns. They state no object, gender or age, which pixels cannot show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from reid.generate.caption.patterns import ACROSS, DOWN, PATTERNED

_PERSON = (
    "A person wearing {}.",
    "The person is dressed in {}.",
    "A person in {} can be seen.",
    "Someone is wearing {}.",
    "The pedestrian has on {}.",
    "This person is seen in {}.",
)
_WORN = {  # part -> nouns; "a" where the noun takes an article
    "upper": ("a {} top", "{} upper clothing"),
    "lower": ("{} bottoms", "{} lower clothing"),
    "shoes": ("{} footwear", "{} footwear"),
}
_VEHICLE = (
    "A {} vehicle.",
    "The vehicle is {}.",
    "A vehicle with {} bodywork.",
    "This vehicle looks {}.",
    "A vehicle in {} is seen.",
    "The bodywork of the vehicle is {}.",
)
_OBJECT = (
    "A {} object.",
    "The object is {}.",
    "An object that is {}.",
    "The item shown is {}.",
    "A {} item.",
    "This object looks {}.",
)
_NOTHING = {"person": "A person.", "vehicle": "A vehicle.", "object": "An object."}
_WORDS = {ACROSS: "horizontally striped", DOWN: "vertically striped", PATTERNED: "patterned"}


@dataclass(frozen=True)
class RegionLook:
    """The stated look of one part: its colours, the main one first, and its pattern if stated."""

    colours: tuple[str, ...]
    pattern: str | None = None

    def words(self) -> str:
        """ "red", "red and white", "horizontally striped red and white"."""
        words = [_WORDS[self.pattern]] if self.pattern in _WORDS else []
        return " ".join([*words, " and ".join(self.colours)])


def sentence(kind: str, looks: Mapping[str, RegionLook], rng: np.random.Generator) -> str:
    """One sentence about a person, a vehicle or an object, of a template that `rng` draws."""
    templates = {"person": _PERSON, "vehicle": _VEHICLE, "object": _OBJECT}[kind]
    template = templates[int(rng.integers(len(templates)))]
    wording, turned = int(rng.integers(2)), bool(rng.integers(2))
    if not looks:
        return _NOTHING[kind]
    if kind != "person":
        (look,) = looks.values()
        return _article(template.format(look.words()))
    worn = [_article(_WORN[part][wording].format(look.words())) for part, look in looks.items()]
    return template.format(_listed(worn[::-1] if turned else worn))


def _listed(phrases: list[str]) -> str:
    return " and ".join([", ".join(phrases[:-1]), phrases[-1]] if len(phrases) > 1 else phrases)


def _article(phrase: str) -> str:
    """ "a orange top" -> "an orange top"."""
    head, _, rest = phrase.partition(" ")
    return f"{head}n {rest}" if head in {"a", "A"} and rest[:1] in {"a", "e", "i", "o", "u"} else phrase
