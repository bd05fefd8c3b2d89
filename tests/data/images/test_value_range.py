"""Pictures of one channel with more than 8 bits: which values become black and white."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image as PILImage

from reid.config import FixedRange, RangeRule
from reid.data.images import SensorSettings, read_picture
from reid.data.images.value_range import eight_bits
from reid.data.readers.base import to_images
from reid.modality import Modality
from tests.support.sets.shards import file_bytes

RULES: tuple[RangeRule, ...] = ("percentile", "min_max", FixedRange(fixed=(29_000, 31_000)))
SCENE = (29_500 + np.random.default_rng(0).integers(0, 1000, (64, 32))).astype(np.uint16)
"""A thermal crop: a thousand steps, about ten degrees."""


def kinds(rule: RangeRule, values: np.ndarray = SCENE) -> list[str]:
    return [note.kind for note in eight_bits(values, rule)[1]]


@pytest.mark.parametrize("stuck", [0, 65_535])
def test_a_stuck_pixel_moves_nothing_but_itself(stuck: int) -> None:
    spoilt = SCENE.copy()
    spoilt[3, 4] = stuck
    before, after = eight_bits(SCENE, "percentile")[0], eight_bits(spoilt, "percentile")[0]
    others = np.ones(SCENE.shape, bool)
    others[3, 4] = False
    assert np.abs(before.astype(int) - after)[others].max() <= 1
    assert after[3, 4] == (0 if stuck == 0 else 255)
    assert np.ptp(eight_bits(spoilt, "min_max")[0][others].astype(int)) < 10, "what it did to all before"


def test_a_stuck_pixel_is_told_and_a_whole_sensor_is_not() -> None:
    spoilt = SCENE.copy()
    spoilt[0, 0] = 65_535
    assert kinds("percentile", spoilt) == kinds("min_max", spoilt) == ["range-outliers"]
    assert kinds("percentile") == kinds("min_max") == kinds(RULES[2]) == []


def test_a_small_hot_object_keeps_its_shades_and_a_spark_stays_white() -> None:
    scene = SCENE.copy()
    scene[10:18, 4:12] = 33_000 + np.arange(64).reshape(8, 8) * 20  # 3 % of the picture
    assert len(np.unique(eight_bits(scene, "percentile")[0][10:18, 4:12])) > 50
    scene = SCENE.copy()
    scene[10:12, 4:6] = 40_000  # as many pixels as are left out
    assert eight_bits(scene, "percentile")[0][10:12, 4:6].min() == 255


def test_a_flat_picture_still_shows_the_little_that_differs() -> None:
    flat = np.full((64, 32), 700.0, np.float32)
    assert not eight_bits(flat, "percentile")[0].any()
    flat[5, 5] = 720.0
    assert eight_bits(flat, "percentile")[0][5, 5] == 255


def test_a_fixed_range_makes_a_grey_level_a_temperature() -> None:
    cold, warm = SCENE, SCENE + 700
    rule = FixedRange(fixed=(29_000, 32_000))
    difference = eight_bits(warm, rule)[0].astype(int) - eight_bits(cold, rule)[0]
    assert set(np.unique(difference)) <= {59, 60}, "700 of 3,000 steps, of 255"
    assert np.array_equal(eight_bits(warm, "percentile")[0], eight_bits(cold, "percentile")[0])


def test_a_fixed_range_that_clips_much_is_told_with_the_share_and_what_was_seen() -> None:
    _, (note,) = eight_bits(SCENE, FixedRange(fixed=(0, 29_600)))
    assert note.kind == "range-clipped"
    assert note.text.startswith("91% of its pixels lie outside data.range's 0 to 29600 (values from 29500 to")


def test_each_modality_has_its_own_rule() -> None:
    sensors = SensorSettings({Modality.TIR: FixedRange(fixed=(0, 65_535))})
    data = file_bytes(PILImage.fromarray(SCENE), "TIFF")
    found = {}
    for m in (Modality.TIR, Modality.NIR):
        image = to_images(data, "x", 10_000, m, sensors)[m]
        found[m] = np.asarray(read_picture(image.image, "x").image)
    assert (found[Modality.TIR].min(), found[Modality.TIR].max()) == (115, 119)
    assert (found[Modality.NIR].min(), found[Modality.NIR].max()) == (0, 255)


def test_pictures_of_eight_bits_are_not_scaled() -> None:
    grey = np.linspace(90, 110, 64, dtype=np.uint8).reshape(8, 8)
    for rule in RULES:
        shown = read_picture(file_bytes(PILImage.fromarray(grey)), "x", value_range=rule).image
        assert np.array_equal(np.asarray(shown), grey)
