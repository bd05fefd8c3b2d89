"""The prompt for the attributes of one picture, and the parsing of a model's answer."""

from __future__ import annotations

import json
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from reid.config.typed import Section
from reid.data.shards.schema import SampleAttribute
from reid.generate.caption.attribute_schema import AttributeSchema
from reid.modality import CAMERA

_SHOWN = {
    **{m.entry.caption_view: m.entry.words for m in CAMERA},
    "ALL": "photos of one {subject} side by side, in colour and infrared",
}


class Answer(Section):
    """One value and the model's confidence in it."""

    value: str
    confidence: Annotated[float, Field(ge=0, le=1)]


_ANSWERS = TypeAdapter(dict[str, Answer])


def attribute_prompt(schema: AttributeSchema, source: str, with_confidence: bool) -> str:
    """The prompt for one picture: the allowed values and the form of the answer; declining is not allowed."""
    shown = _SHOWN[source].format(subject=schema.subject)
    lines = [f"- {a.name} ({a.ask}): {', '.join(a.values)}" for a in schema.attributes]
    value = '{"value": …, "confidence": …}' if with_confidence else "its value"
    sure = " confidence is a number from 0 to 1." if with_confidence else ""
    return (
        f"This is {shown}. Describe the {schema.subject} by these attributes, choosing exactly one of the "
        "values listed for each:\n" + "\n".join(lines) + "\n"
        f"Answer with one JSON object and nothing else: each attribute's name with {value}.{sure} Where you "
        "cannot tell, give your best guess; 'unknown' is no answer."
    )


def retry_prompt(prompt: str, reason: str) -> str:
    """The prompt for the second and last try."""
    return f"{prompt}\nAn earlier answer was refused: {reason} Answer again, in exactly that form."


def parse_answer(text: str, schema: AttributeSchema, source: str) -> tuple[SampleAttribute, ...]:
    """The attributes of a free answer. Raises ValueError with the problem."""
    start, end = text.find("{"), text.rfind("}")
    if start < 0 or end < start:
        raise ValueError("there is no JSON object in it.")
    try:
        answers = _ANSWERS.validate_json(text[start : end + 1])
    except ValidationError as error:
        item = error.errors()[0]
        where = ".".join(map(str, item["loc"])) or "the object"
        raise ValueError(f"{where}: {item['msg']}.") from None
    found = []
    for attribute in schema.attributes:
        if attribute.name not in answers:
            raise ValueError(f"{attribute.name} is missing.")
        answer = answers[attribute.name]
        known = {v.lower(): v for v in attribute.values}
        value = known.get(answer.value.strip().lower())
        if value is None:
            raise ValueError(f"{attribute.name}: {answer.value!r} is not one of its values.")
        found.append(SampleAttribute(attribute.name, value, answer.confidence, source))
    return tuple(found)


def read_constrained_answer(
    text: str, confidences: list[float], schema: AttributeSchema, source: str
) -> tuple[SampleAttribute, ...]:
    """The attributes of an answer whose form was constrained by the grammar."""
    values: dict[str, str] = json.loads(text)
    pairs = zip(values.items(), confidences, strict=True)
    return tuple(SampleAttribute(name, value, confidence, source) for (name, value), confidence in pairs)
