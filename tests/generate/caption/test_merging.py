"""Attribute schemas, the merge over sources, and the sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reid.data.shards.schema import SampleAttribute
from reid.errors import ConfigError
from reid.generate.caption.attribute_files import load_schema
from reid.generate.caption.merging import (
    above_confidence,
    attribute_sentence,
    fitting_sentence,
    merge_attributes,
    sentence_faults,
    token_length,
)
from reid.generate.caption.shipped_attributes import PERSON, SHIPPED, VEHICLE

EQUAL: dict[str, float] = {}


def said(**values: str) -> dict[str, SampleAttribute]:
    return {name: SampleAttribute(name, value, 0.9, "ALL") for name, value in values.items()}


def test_persons_have_thirteen_attributes_and_vehicles_six() -> None:
    assert (len(PERSON.attributes), len(VEHICLE.attributes)) == (13, 6)  # STMI, arXiv 2603.00695


def test_the_most_confident_source_states_an_attribute() -> None:
    records = [SampleAttribute("gender", "male", 0.6, "RGB"), SampleAttribute("gender", "female", 0.8, "TI")]
    assert merge_attributes(records, PERSON, EQUAL)["gender"].value == "female"


def test_a_source_weighs_as_it_is_set_to() -> None:
    records = [SampleAttribute("gender", "male", 0.6, "RGB"), SampleAttribute("gender", "female", 0.8, "TI")]
    assert merge_attributes(records, PERSON, {"TI": 0.5})["gender"].value == "male"


def test_ties_go_to_all_before_rgb_before_near_before_thermal_infrared() -> None:
    order = ["TI", "NI", "RGB", "ALL"]
    for i in range(1, 4):
        records = [SampleAttribute("gender", "male", 0.5, s) for s in order[: i + 1]]
        assert merge_attributes(records, PERSON, EQUAL)["gender"].source == order[i]


def test_an_attribute_that_nobody_is_sure_of_is_left_out_of_the_sentence() -> None:
    merged = said(gender="male") | {"glasses": SampleAttribute("glasses", "yes", 0.29, "ALL")}
    assert set(above_confidence(merged, 0.3)) == {"gender"}


def test_the_sentence_says_all_there_is_and_skips_what_is_not() -> None:
    whole = said(
        gender="female",
        age_group="adult",
        viewpoint="back",
        illumination="daylight",
        upper_colour="orange",
        upper_type="coat",
        lower_colour="blue",
        lower_type="jeans",
        shoe_colour="white",
        shoe_type="trainers",
        hair_length="long",
        glasses="no",
        carried_object="umbrella",
    )
    assert attribute_sentence(whole, PERSON) == (
        "An adult woman with long hair, wearing an orange coat, blue jeans, white trainers, carrying an "
        "umbrella, seen from the back in daylight."
    )
    assert attribute_sentence(said(lower_type="shorts"), PERSON) == "A person, shorts."
    assert attribute_sentence(said(colour="red", type="SUV", make="other"), VEHICLE) == "A red SUV."
    assert attribute_sentence(said(type="SUV"), VEHICLE) == "An SUV."


@pytest.mark.parametrize("name", list(SHIPPED))
def test_every_value_of_a_shipped_schema_is_said_alone_and_with_all_others(name: str) -> None:
    schema = SHIPPED[name]
    first = {a.name: next(v for v, w in a.values.items() if w) for a in schema.attributes}
    for attribute in schema.attributes:
        for value in attribute.values:
            for stated in (said(**{attribute.name: value}), said(**{**first, attribute.name: value})):
                text = attribute_sentence(stated, schema)
                assert sentence_faults(text, stated, schema) == []


def test_the_least_sure_attributes_go_until_the_sentence_fits() -> None:
    whole = said(gender="female", upper_type="coat", upper_colour="red")
    whole["upper_colour"] = SampleAttribute("upper_colour", "red", 0.4, "ALL")
    text, kept = fitting_sentence(whole, PERSON, limit=token_length("A woman, wearing a coat."))
    assert text == "A woman, wearing a coat."
    assert set(kept) == {"gender", "upper_type"}


def test_tokens_are_counted_with_start_and_end_and_beyond_the_context() -> None:
    assert token_length("a man") == 4
    assert token_length("a! man!") == 6  # the byte pair of '!' has the number 0
    assert token_length("man " * 75) == 77
    assert token_length("man " * 100) == 102


def test_a_sentence_is_faulted_for_what_it_lacks_and_for_what_it_must_not_have() -> None:
    stated = said(gender="male", upper_type="coat")
    assert sentence_faults("A man in a coat.", stated, PERSON) == []
    assert sentence_faults("A man.", stated, PERSON) == ["it does not say 'coat'"]
    assert sentence_faults("A man in a coat of unknown colour.", stated, PERSON) == ["it says 'unknown'"]
    assert "over 77" in sentence_faults("A man in a coat" + " and a coat" * 40, stated, PERSON)[0]
    assert sentence_faults("", {}, PERSON) == ["it is empty"]


# Schemas of one's own

OWN: dict[str, str] = {
    "subject": "subject: dog",
    "attributes": "attributes: [{name: coat, ask: colour of the coat, values: [black, white]}]",
    "sentence": "sentence: [['a {coat} dog', 'a dog']]",
}


def write(path: Path, **changed: str) -> str:
    path.write_text("\n".join({**OWN, **changed}.values()))
    return str(path)


def test_a_schema_of_ones_own_is_read_from_yaml(tmp_path: Path) -> None:
    schema = load_schema(write(tmp_path / "dog.yaml"))
    assert attribute_sentence(said(coat="black"), schema) == "A black dog."


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"sentence": "sentence: [['a {caot} dog']]"}, r"'caot'.*Did you mean 'coat'"),
        ({"sentence": "sentence: [['a dog']]"}, "never uses 'coat'"),
        ({"sentence": "sentence: [['a {coat.x} {coat} dog']]"}, "braces"),
        ({"attributes": "attributes: [{name: coat, ask: x, values: [black, unknown]}]"}, "best guess"),
        ({"attributes": "attributes: [{name: coat, ask: x, values: [a, 'b\"']}]"}, "without quotes"),
        ({"attributes": "attributes: [{name: coat, ask: x, values: [a]}]"}, r"attributes\.0\.values"),
        ({"subject": "subjects: dog"}, "Did you mean 'subject'"),
        ({"subject": "subject: ["}, "not valid YAML"),
    ],
)
def test_a_faulty_schema_is_refused_with_its_file_and_reason(
    changed: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load_schema(write(tmp_path / "dog.yaml", **changed))
    assert "dog.yaml" in str(caught.value)


def test_an_unknown_schema_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"params\.attributes.*Did you mean 'person'"):
        load_schema("persn")
