"""A closed set of attributes, and the pattern of the sentence that is made of their values."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from reid.config.typed import Section, did_you_mean

_SLOT = re.compile(r"\{(\w+)\}")
_PLAIN = re.compile(r'[^"\\{}\x00-\x1f\x7f-\uffff]+')
_FORBIDDEN = "unknown"
Text = Annotated[str, Field(min_length=1)]


class AttributeQuestion(Section):
    """One attribute and its allowed values."""

    name: str = Field(
        pattern=r"^[a-z][a-z0-9_]*$", description="name under which the attribute is stored with the sample"
    )
    ask: Text = Field(description="what the model is asked for, e.g. colour of the shoes")
    values: dict[Text, str] = Field(
        min_length=2,
        description="allowed values, each with its words in the sentence; no words: the sentence "
        "leaves it out",
    )

    @field_validator("values", mode="before")
    @classmethod
    def _list_is_its_own_words(cls, value: object) -> object:
        return {v: v for v in value} if isinstance(value, list | tuple) else value

    @field_validator("values")
    @classmethod
    def _plain(cls, values: dict[str, str]) -> dict[str, str]:
        for value in values:
            if not _PLAIN.fullmatch(value) or value != value.strip():
                raise ValueError(
                    f"value {value!r} must be plain ASCII without quotes, braces or outer blanks"
                )
            if value.lower() == _FORBIDDEN:
                raise ValueError(f"{value!r} is no value: the model gives its best guess with low confidence")
        return values


class AttributeSchema(Section):
    """Attributes in the order in which the model is asked for them, and the pattern of the caption.

    The pattern is a list of parts, each with alternatives. The first alternative whose {attributes} all have
    words is used; without one, the part is left out.
    """

    subject: Text = Field(description="object that a picture shows, e.g. person")
    attributes: tuple[AttributeQuestion, ...] = Field(
        min_length=1, description="attributes that the model is asked for"
    )
    sentence: tuple[tuple[Text, ...], ...] = Field(
        min_length=1, description="pattern of the caption, with the attributes' names in braces"
    )

    @model_validator(mode="after")
    def _agree(self) -> AttributeSchema:
        names = [a.name for a in self.attributes]
        if doubled := sorted({n for n in names if names.count(n) > 1}):
            raise ValueError(f"attribute {doubled[0]!r} occurs twice")
        if broken := [t for part in self.sentence for t in part if set("{}") & set(_SLOT.sub("", t))]:
            raise ValueError(f"braces hold an attribute's name and nothing else: {broken[0]!r}")
        used = {slot for part in self.sentence for text in part for slot in slots_of(text)}
        if strange := sorted(used - set(names)):
            raise ValueError(f"the sentence uses {strange[0]!r}.{did_you_mean(strange[0], names)}")
        if silent := [n for n in names if n not in used]:
            raise ValueError(f"the sentence never uses {silent[0]!r}")
        return self

    def attribute(self, name: str) -> AttributeQuestion:
        """The attribute of that name."""
        return next(a for a in self.attributes if a.name == name)


def slots_of(text: str) -> list[str]:
    """Names in braces, in order."""
    return _SLOT.findall(text)
