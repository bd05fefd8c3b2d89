"""mask_prior: an object off its ground, a score that follows the truth, the middle as a last resort."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from reid.config import GenerateConfig
from reid.data.synthetic import SyntheticConfig, make_identity, render_capture
from reid.generate.registry import GeneratedMask, bind
from reid.modality import Target

Pixels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]


def prior(pixels: Pixels, **params: Any) -> GeneratedMask:
    made = bind(Target.MASK, GenerateConfig(generator="mask_prior", params=params))(pixels, "a", 0)
    assert isinstance(made, GeneratedMask)
    return made


def overlap(one: Mask, other: Mask) -> float:
    return float((one & other).sum() / (one | other).sum())


def object_on_ground(noise: float = 4.0, contrast: int = 100) -> tuple[Pixels, Mask]:
    """An ellipse in the middle of a ground that gets lighter downwards."""
    rows, columns = np.linspace(-1, 1, 96), np.linspace(-1, 1, 48)
    truth = (rows[:, None] / 0.8) ** 2 + (columns / 0.5) ** 2 < 1
    ground = np.broadcast_to((120 + 40 * rows)[:, None, None], (96, 48, 3))
    flat = np.where(truth[..., None], ground + np.array([contrast, -contrast / 2, -contrast / 2]), ground)
    noisy = flat + np.random.default_rng(3).normal(0, noise, flat.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8), truth


def test_the_mask_covers_a_centred_object_on_plain_ground() -> None:
    pixels, truth = object_on_ground()
    assert overlap(prior(pixels).mask, truth) > 0.9


def test_the_score_falls_as_the_object_fades_into_a_noisy_ground() -> None:
    clear, faint = object_on_ground(), object_on_ground(noise=25.0, contrast=40)
    scores = [prior(pixels).score or 0.0 for pixels, _ in (clear, faint)]
    assert 1 >= scores[0] > scores[1] + 0.1
    assert overlap(prior(clear[0]).mask, clear[1]) > overlap(prior(faint[0]).mask, faint[1])


def test_a_picture_of_one_colour_gives_the_middle_with_a_score_of_nothing() -> None:
    made = prior(np.full((64, 32, 3), 90, np.uint8))
    assert made.score == 0.0
    assert made.mask[32, 16] and made.mask[5:60, 16].all()
    assert not made.mask[:, [0, -1]].any()


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (7, 300), (300, 7)])
@pytest.mark.parametrize("sides", ["left_right", "top_bottom"])
def test_every_size_gives_a_mask_of_that_size_with_something_in_it(
    shape: tuple[int, int], sides: str
) -> None:
    made = prior(np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8), sides=sides)
    assert made.mask.shape == shape and made.mask.dtype == np.bool_ and made.mask.flags.c_contiguous
    assert made.mask.any()
    assert made.score is not None and 0 <= made.score <= 1


def test_a_long_object_that_reaches_both_sides_is_found_between_ground_above_and_below() -> None:
    truth = np.zeros((48, 96), bool)
    truth[15:35] = True
    pixels = np.where(truth[..., None], (180, 30, 30), (110, 115, 120)).astype(np.uint8)
    assert overlap(prior(pixels, sides="top_bottom", reach_along=3.0).mask, truth) > 0.9
    assert overlap(prior(pixels).mask, truth) < 0.7


def test_a_higher_threshold_keeps_less() -> None:
    pixels, _ = object_on_ground(noise=12.0, contrast=40)
    masks = [prior(pixels, threshold=t, smooth=0.0).mask for t in (0.3, 0.45, 0.6)]
    assert masks[0].sum() > masks[1].sum() > masks[2].sum()
    assert not (masks[2] & ~masks[0]).any()


def test_specks_and_holes_go_by_the_vote_of_their_neighbourhood() -> None:
    pixels, truth = object_on_ground()
    assert not truth[20, 10]
    pixels[20, 10] = (255, 0, 0)  # a speck on the ground
    pixels[48, 24] = 120  # a hole in the object
    raw, voted = prior(pixels, smooth=0.0).mask, prior(pixels, smooth=0.03).mask
    assert raw[20, 10] and not raw[48, 24]
    assert not voted[20, 10] and voted[48, 24]


def test_on_rendered_people_in_good_light_the_overlap_with_the_truth_is_high() -> None:
    config = SyntheticConfig(seed=3, difficulty=0.0)
    found = []
    for pid in range(6):
        capture = render_capture(config, make_identity(config, pid), camid=pid % 4, index=0)
        found.append(overlap(prior(capture.rgb).mask, capture.mask))
    assert np.mean(found) > 0.8
