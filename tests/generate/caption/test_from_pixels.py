"""cap_attr: what it sees, what it says, how sure it is, and what it never says."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from reid.config import GenerateConfig
from reid.data.synthetic import SyntheticConfig, make_identity, render_capture
from reid.errors import ConfigError
from reid.generate.caption.patterns import ACROSS, DOWN, PATTERNED, PLAIN, pattern_of
from reid.generate.caption.sentences import RegionLook, sentence
from reid.generate.colours import NAMES, to_lab
from reid.generate.registry import GeneratedCaption, bind
from reid.modality import Target

Pixels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
RED, BLUE, WHITE, BLACK, SKIN = (190, 20, 25), (25, 55, 165), (235, 235, 235), (15, 15, 17), (210, 165, 140)
FORBIDDEN = re.compile(
    r"\b(man|men|woman|women|boy|girl|male|female|he|she|his|her|old|young|adult|child|bag|hat|skirt|"
    r"dress|jeans|hair|glasses|phone|backpack|car|bus|truck)\b",
    re.IGNORECASE,
)


def caption(pixels: Pixels, mask: Mask | None = None, content: str = "a", **params: Any) -> GeneratedCaption:
    bound = bind(Target.TEXT, GenerateConfig(generator="cap_attr", params=params))
    made = bound(pixels, content, 0, mask)
    assert isinstance(made, GeneratedCaption)
    return made


def figure(
    upper: tuple[int, int, int] = RED, lower: tuple[int, int, int] = BLUE, light: float = 1.0
) -> tuple[Pixels, Mask]:
    """A person of 100 rows: head, upper body, legs, black feet; on gray, with a bright corner."""
    pixels = np.full((120, 60, 3), 128, np.uint8)
    pixels[:6, :20] = 250
    mask = np.zeros((120, 60), bool)
    for top, bottom, left, right, colour in (
        (10, 26, 24, 36, SKIN),
        (26, 62, 15, 45, upper),
        (62, 98, 18, 42, lower),
        (98, 110, 16, 44, BLACK),
    ):
        mask[top:bottom, left:right] = True
        pixels[top:bottom, left:right] = colour
    noise = np.random.default_rng(0).normal(0, 4, pixels.shape)
    return np.clip(pixels * light + noise, 0, 255).astype(np.uint8), mask


def values(made: GeneratedCaption) -> dict[str, str]:
    return {a.name: a.value for a in made.attributes}


def sure(made: GeneratedCaption) -> dict[str, float]:
    return {a.name: a.confidence or 0.0 for a in made.attributes}


def test_red_over_blue_is_told_as_such_in_words_and_attributes() -> None:
    made = caption(*figure())
    assert values(made) == {
        "upper_color": "red",
        "upper_pattern": PLAIN,
        "lower_color": "blue",
        "lower_pattern": PLAIN,
        "shoes_color": "black",
    }
    assert re.search(r"red (top|upper clothing)", made.text)
    assert re.search(r"blue (bottoms|lower clothing)", made.text)
    assert "black footwear" in made.text
    assert {a.source for a in made.attributes} == {"cap_attr"}
    assert made.confidence is not None and 0.3 < made.confidence <= 1


def test_the_sentences_of_other_photos_vary_and_stay_true() -> None:
    pixels, mask = figure()
    texts = {caption(pixels, mask, content=str(i)).text for i in range(40)}
    assert len({re.sub(r"red .*|blue .*|black .*", "", text) for text in texts}) >= 5
    for text in texts:
        assert text[0].isupper() and text.endswith(".")
        assert re.search(r"red (top|upper clothing)", text) and re.search(
            r"blue (bottoms|lower clothing)", text
        )


def test_stripes_are_recognised_with_their_direction() -> None:
    pixels, mask = figure(upper=WHITE)
    across, down = pixels.copy(), pixels.copy()
    for start in range(26, 62, 8):
        across[start : start + 4, 15:45] = RED
    for start in range(15, 45, 6):
        down[26:62, start : start + 3] = RED
    for striped, pattern, word in ((across, ACROSS, "horizontally"), (down, DOWN, "vertically")):
        made = caption(striped, mask)
        assert values(made)["upper_pattern"] == pattern
        assert {values(made)["upper_color"], values(made)["upper_accent"]} == {"red", "white"}
        assert f"{word} striped" in made.text
    assert "striped" not in caption(pixels, mask).text


def test_a_mosaic_of_colours_is_patterned_and_light_and_shade_are_not() -> None:
    rng = np.random.default_rng(2)
    tiles = np.repeat(np.repeat(rng.integers(0, 256, (13, 11, 3)), 5, axis=0), 4, axis=1).astype(np.uint8)
    everywhere = np.ones(tiles.shape[:2], bool)
    assert pattern_of(to_lab(tiles), everywhere)[0] == PATTERNED
    shade = np.linspace(0.45, 1, 60)[:, None, None] * np.ones((1, 40, 1)) * np.array(RED)
    assert pattern_of(to_lab(shade.astype(np.uint8)), np.ones((60, 40), bool))[0] == PLAIN


def test_a_step_between_two_halves_is_no_stripe() -> None:
    halves = np.zeros((60, 40, 3), np.uint8)
    halves[:30], halves[30:] = RED, WHITE
    assert pattern_of(to_lab(halves), np.ones((60, 40), bool))[0] not in (ACROSS, DOWN)


def test_a_region_too_small_to_tell_is_plain_without_any_confidence() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (4, 4, 3)).astype(np.uint8)
    assert pattern_of(to_lab(noise), np.ones((4, 4), bool)) == (PLAIN, 0.0)


def test_a_colour_between_two_names_is_less_sure_than_one_that_has_a_name() -> None:
    named, between = caption(*figure(upper=RED)), caption(*figure(upper=(215, 70, 26)))
    assert sure(named)["upper_color"] > sure(between)["upper_color"] + 0.2


def test_in_the_dark_nothing_is_sure_and_little_is_said() -> None:
    dark = caption(*figure(light=0.08))
    assert max(sure(dark).values()) < 0.05
    assert dark.text == "A person."
    assert dark.confidence == 0.0


def test_what_is_not_sure_enough_stays_unsaid_but_is_kept_as_an_attribute() -> None:
    pixels, mask = figure()
    certain = sorted(value for name, value in sure(caption(pixels, mask)).items() if name.endswith("color"))
    made = caption(pixels, mask, min_confidence=(certain[-1] + certain[-2]) / 2)
    assert sum(name in made.text for name in ("red", "blue", "black")) == 1
    assert {"upper_color", "lower_color", "shoes_color"} <= set(values(made))


def test_the_confidence_of_a_caption_is_the_geometric_mean_of_what_it_says() -> None:
    made = caption(*figure())
    stated = [sure(made)[name] for name in ("upper_color", "lower_color", "shoes_color")]
    assert made.confidence == pytest.approx(np.prod(stated) ** (1 / 3), abs=1e-3)


def test_with_no_least_confidence_everything_is_said() -> None:
    made = caption(*figure(light=0.08), min_confidence=0.0, pattern_confidence=0.0)
    assert all(word in made.text for word in ("footwear", "black")) and made.text.count("black") >= 3
    assert made.confidence is not None and 0 <= made.confidence < 0.05


def test_without_a_mask_or_with_an_empty_one_the_figure_is_guessed_and_less_sure() -> None:
    pixels, mask = figure()
    known, guessed = caption(pixels, mask), caption(pixels)
    empty = caption(pixels, np.zeros_like(mask))
    assert values(guessed)["upper_color"] == "red" and values(guessed)["lower_color"] == "blue"
    assert empty == guessed
    assert (guessed.confidence or 0) < (known.confidence or 0)


@pytest.mark.parametrize("kind", ["person", "vehicle", "object"])
@pytest.mark.parametrize("shape", [(1, 1), (7, 300), (300, 7), (2, 2)])
def test_every_size_and_kind_gives_a_sentence(shape: tuple[int, int], kind: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8)
    for mask in (None, np.ones(shape, bool), np.zeros(shape, bool)):
        made = caption(pixels, mask, kind=kind)
        assert made.text.endswith(".")
        assert made.confidence is not None and 0 <= made.confidence <= 1


def test_a_gray_picture_is_told_in_black_gray_and_white_only() -> None:
    level = np.random.default_rng(0).integers(0, 256, (24, 12))
    pixels = np.repeat(np.repeat(level[..., None], 3, axis=2), 4, axis=1).repeat(4, axis=0).astype(np.uint8)
    made = caption(pixels, np.ones(pixels.shape[:2], bool))
    assert {a.value for a in made.attributes if not a.name.endswith("pattern")} <= {"black", "gray", "white"}


@pytest.mark.parametrize(("kind", "noun"), [("vehicle", "vehicle"), ("object", "object|item")])
def test_vehicles_and_objects_have_their_own_parts_and_sentences(kind: str, noun: str) -> None:
    pixels = np.full((60, 100, 3), 120, np.uint8)
    mask = np.zeros((60, 100), bool)
    mask[10:50, 8:92] = True
    pixels[mask] = RED
    made = caption(pixels, mask, kind=kind)
    name = "body_color" if kind == "vehicle" else "color"
    assert values(made)[name] == "red"
    assert re.search(rf"\b({noun})\b", made.text) and "red" in made.text and "person" not in made.text


def test_an_unknown_kind_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"build\.generate\.text\.params\.kind"):
        caption(*figure(), kind="animal")


@pytest.mark.parametrize("kind", ["person", "vehicle", "object"])
def test_no_sentence_names_gender_age_or_an_object(kind: str) -> None:
    looks = {
        "person": {
            "upper": RegionLook(("orange", "white"), ACROSS),
            "lower": RegionLook(("beige",)),
            "shoes": RegionLook(NAMES),
        },
        "vehicle": {"body": RegionLook(("orange",), PATTERNED)},
        "object": {"whole": RegionLook(("orange",), DOWN)},
    }[kind]
    texts = {sentence(kind, looks, np.random.default_rng(i)) for i in range(200)}
    assert len(texts) >= 5
    for text in texts | {sentence(kind, {}, np.random.default_rng(0))}:
        assert not FORBIDDEN.search(text)
        assert not re.search(r"\ba [aeiou]", text, re.IGNORECASE)
        assert "{" not in text and "  " not in text


def test_the_surest_colours_of_rendered_people_are_right() -> None:
    """The confidence orders what is said: its upper half is right far more often than its lower half."""
    config = SyntheticConfig(seed=5, difficulty=0.3)
    told: list[tuple[float, bool]] = []
    for pid in range(40):
        capture = render_capture(config, make_identity(config, pid), pid % 4, pid % 3)
        truth = {name: value for name, value, _ in capture.attributes}
        made = caption(capture.rgb, capture.mask, content=str(pid))
        told += [
            (a.confidence or 0.0, a.value == truth["upper_color"])
            for a in made.attributes
            if a.name == "upper_color"
        ]
    right = [ok for _, ok in sorted(told)]
    lower, upper = np.mean(right[: len(right) // 2]), np.mean(right[len(right) // 2 :])
    assert upper > 0.85
    assert upper > lower + 0.15
