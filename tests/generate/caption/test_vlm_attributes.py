"""Captions by vision-language models of random weights: nonsense, but always of the schema."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reid.config import GenerateConfig
from reid.data.images import Pixels
from reid.errors import ConfigError, DataError, WeightsError
from reid.generate.caption.attribute_question import attribute_prompt, parse_answer
from reid.generate.caption.merging import token_length
from reid.generate.caption.shipped_attributes import PERSON, VEHICLE
from reid.generate.caption.views import composite, views
from reid.generate.caption.vlm_attributes import CapVlm
from reid.generate.registry import GeneratedCaption, GeneratorInput, bind
from reid.modality import Modality, Target
from tests.support.models.tiny_vlm import save_blip, save_llava

RNG = np.random.default_rng(0)


def picture(height: int = 32, width: int = 16) -> Pixels:
    return RNG.integers(0, 256, (height, width, 3)).astype(np.uint8)


def source(*names: str) -> GeneratorInput:
    return GeneratorInput("capture", {Modality(n): picture() for n in names}, None, np.random.default_rng(0))


@pytest.fixture(scope="module")
def llava(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("llava")
    save_llava(folder)
    return str(folder)


def valid(made: Any, least: int) -> GeneratedCaption:
    assert isinstance(made, GeneratedCaption)
    assert len(made.attributes) >= least
    for a in made.attributes:
        assert a.value in PERSON.attribute(a.name).values
        assert a.confidence is not None and 0 < a.confidence <= 1
        assert a.source in {"ALL", "RGB", "NI", "TI"}
    return made


# What the model is shown


def test_the_composite_is_as_high_as_the_first_picture_with_white_gutters() -> None:
    made = composite([np.zeros((20, 10, 3), np.uint8), np.zeros((40, 40, 3), np.uint8)])
    assert made.shape == (20, 10 + 8 + 20, 3)
    assert (made[:, 10:18] == 255).all() and (made[:, :10] == 0).all() and (made[:, 18:] == 0).all()


def test_each_modality_is_shown_alone_and_all_together_in_order() -> None:
    shown = views({Modality.TIR: picture(), Modality.RGB: picture(), Modality.NIR: picture()})
    assert list(shown) == ["RGB", "NI", "TI", "ALL"]
    assert np.array_equal(shown["ALL"][:, 24:40], shown["NI"])
    assert list(views({Modality.NIR: picture()})) == ["NI"]


def test_the_question_lists_every_value_and_forbids_to_decline() -> None:
    text = attribute_prompt(VEHICLE, "TI", with_confidence=True)
    assert (
        "thermal" in text
        and "confidence is a number from 0 to 1" in text
        and "'unknown' is no answer" in text
    )
    assert all(value in text for a in VEHICLE.attributes for value in a.values)


# Held to the schema


def test_a_held_answer_is_of_the_schema_whatever_the_model_would_say(llava: str) -> None:
    made = CapVlm(weights=llava, min_confidence=0.0)([source("rgb", "nir", "tir"), source("nir")])
    first, second = (valid(m, 13) for m in made)
    assert len(first.attributes) == 13
    assert {a.source for a in second.attributes} == {"NI"}
    for m in (first, second):
        assert token_length(m.text) <= 77 and m.text.endswith(".") and m.confidence is not None


def test_pictures_are_captioned_in_a_batch_as_they_are_alone(llava: str) -> None:
    maker = CapVlm(weights=llava, min_confidence=0.0)
    sources = [source("rgb", "tir"), source("rgb")]
    for source_, together in zip(sources, maker(sources), strict=True):
        (alone,) = maker([source_])
        assert valid(alone, 13).text == valid(together, 13).text
        assert valid(alone, 13).confidence == pytest.approx(valid(together, 13).confidence, rel=1e-3)


def test_all_statements_can_be_kept_with_their_sources(llava: str) -> None:
    (made,) = CapVlm(weights=llava, min_confidence=0.0, keep="all")([source("rgb", "tir")])
    assert [a.source for a in valid(made, 39).attributes[::13]] == ["RGB", "TI", "ALL"]


def test_a_model_that_is_sure_of_nothing_sets_the_row_aside(llava: str) -> None:
    (made,) = CapVlm(weights=llava, min_confidence=0.9)([source("rgb")])
    assert isinstance(made, DataError)
    assert "capture: cap_vlm: no attribute is sure enough" in str(made)


def test_a_model_that_cannot_word_the_facts_leaves_the_template(llava: str) -> None:
    (template,) = CapVlm(weights=llava, min_confidence=0.0)([first := source("rgb")])
    (worded,) = CapVlm(weights=llava, min_confidence=0.0, describe="model")([first])
    assert valid(worded, 13).text == valid(template, 13).text


# Free answers

GOOD = {a.name: {"value": next(iter(a.values)), "confidence": 0.8} for a in PERSON.attributes}


class Scripted:
    """Says these texts one after another."""

    def __init__(self, *texts: str) -> None:
        self.texts = list(texts)
        self.prompts: list[str] = []

    def write(
        self, pictures: Sequence[Pixels], prompts: Sequence[str], max_tokens: int, held: Any = None
    ) -> list[tuple[str, float]]:
        self.prompts += prompts
        return [(self.texts.pop(0), 0.5) for _ in pictures]


def free(llava: str, *texts: str, **params: Any) -> tuple[CapVlm, Scripted]:
    maker = CapVlm(weights=llava, constrain=False, **params)
    script = Scripted(*texts)
    maker.model = script  # type: ignore[assignment]
    return maker, script


def test_a_valid_free_answer_is_taken_with_its_confidences(llava: str) -> None:
    maker, script = free(llava, f"Sure!\n```json\n{json.dumps(GOOD)}\n```")
    (made,) = maker([source("rgb")])
    assert valid(made, 13).confidence == pytest.approx(0.8)
    assert len(script.prompts) == 1


def test_an_invalid_answer_is_asked_for_once_more_with_the_reason(llava: str) -> None:
    bad = {**GOOD, "gender": {"value": "unknown", "confidence": 0.1}}
    maker, script = free(llava, json.dumps(bad), json.dumps(GOOD))
    (made,) = maker([source("rgb")])
    assert valid(made, 13)
    assert "gender: 'unknown' is not one of its values." in script.prompts[1]


def test_a_picture_without_a_valid_answer_is_left_to_the_others(llava: str) -> None:
    maker, _ = free(llava, "no", json.dumps(GOOD), "{}", "still no", "nothing")
    (made,) = maker([source("rgb", "tir")])  # RGB: no, still no; TI: valid; ALL: {}, nothing
    assert {a.source for a in valid(made, 13).attributes} == {"TI"}


def test_no_valid_answer_at_all_sets_the_row_aside(llava: str) -> None:
    maker, script = free(llava, "no", "no")
    (made,) = maker([source("rgb")])
    assert isinstance(made, DataError) and "no valid answer" in str(made)
    assert len(script.prompts) == 2


def test_a_sentence_by_the_model_is_taken_when_it_keeps_the_facts(llava: str) -> None:
    says = json.dumps({**GOOD})
    maker, script = free(llava, says, "A person.", "", describe="model")
    (draft,) = maker([source("rgb")])
    text = valid(draft, 13).text
    assert "it does not say" in script.prompts[-1]
    maker, _ = free(llava, says, "Look: " + text, describe="model")
    (made,) = maker([source("rgb")])
    assert valid(made, 13).text == "Look: " + text


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("nothing", "no JSON object"),
        ("{oops}", "Invalid JSON"),
        (json.dumps({"gender": GOOD["gender"]}), "age_group is missing"),
        (json.dumps({**GOOD, "gender": {"value": "male", "confidence": 2}}), r"gender\.confidence"),
        (json.dumps({**GOOD, "gender": "male"}), "gender: "),
    ],
)
def test_an_answer_of_another_form_is_refused_by_what_is_wrong(answer: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_answer(answer, PERSON, "RGB")


# Loading


def test_it_is_bound_by_its_name_and_reads_all_camera_modalities(llava: str) -> None:
    params: dict[str, Any] = {"weights": llava, "min_confidence": 0.0, "attributes": "vehicle"}
    bound = bind(Target.TEXT, GenerateConfig(generator="cap_vlm", params=params))
    assert bound.heavy and bound.entry.reads == (Modality.RGB, Modality.NIR, Modality.TIR)
    (made,) = bound.load()([source("tir")])
    assert isinstance(made, GeneratedCaption) and len(made.attributes) == 6


def test_a_missing_model_names_the_three_remedies() -> None:
    with pytest.raises(WeightsError, match=r"\(1\).*\(2\).*\(3\)"):
        CapVlm(weights="somebody/model-of-nobody")


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"without config\.json"):
        CapVlm(weights=str(tmp_path))


def test_a_misspelt_schema_is_told_before_the_model_is_loaded() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'vehicle'"):
        CapVlm(weights="somebody/model-of-nobody", attributes="vehicles")


# Plain captions


def test_a_captioner_describes_each_picture_with_the_mean_probability_of_its_words(tmp_path: Path) -> None:
    save_blip(tmp_path)
    params: dict[str, Any] = {"weights": str(tmp_path), "max_tokens": 6}
    load = bind(Target.TEXT, GenerateConfig(generator="cap_blip", params=params)).load()
    made = load([source("rgb"), source("tir")])
    for m in made:
        assert isinstance(m, GeneratedCaption) and m.text
        assert m.confidence is not None and 0 < m.confidence < 1


def test_a_chat_model_can_caption_too(llava: str) -> None:
    params: dict[str, Any] = {"weights": llava, "prompt": "Describe it.", "max_tokens": 6}
    (made,) = bind(Target.TEXT, GenerateConfig(generator="cap_blip", params=params)).load()([source("rgb")])
    assert isinstance(made, GeneratedCaption | DataError)
