"""What the download-free generators draw: shapes, determinism, and the point of each formula."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from reid.config import GenerateConfig
from reid.generate.infrared import computed
from reid.generate.registry import bind
from reid.generate.sketch import drawn
from reid.generate.sketch.drawn import loosen_lines
from reid.modality import Target

Pixels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
NAMES = ["sketch_dog", "sketch_dodge", "sketch_mix", "sketch_xdog", "ir_nir", "ir_gray"]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def photo(height: int = 48, width: int = 40) -> Pixels:
    """Smooth colour with a dark diagonal line and a bright square."""
    rows, columns = np.indices((height, width))
    picture = np.stack([90 + rows * 2, 100 + columns * 2, 140 - rows], axis=-1)
    picture[np.abs(rows - columns) < 2] = 20
    picture[5:15, 25:35] = (250, 240, 60)
    return np.clip(picture, 0, 255).astype(np.uint8)


def make(
    name: str, pixels: Pixels, content: str = "a", seed: int = 0, mask: Mask | None = None, **params: Any
) -> Pixels:
    target = {"sketch": Target.SKETCH, "ir": Target.NIR}[name.split("_")[0]]
    target = Target.TIR if name == "ir_tir" else target
    made = bind(target, GenerateConfig(generator=name, params=params))(pixels, content, seed, mask)
    assert isinstance(made, np.ndarray)
    return made


def nir(pixels: Pixels, state: np.random.Generator, **params: Any) -> Pixels:
    return computed.nir(pixels[None], [state], **params)[0]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(48, 40), (1, 1), (3, 200), (7, 300)])
def test_every_size_gives_one_8_bit_plane(name: str, shape: tuple[int, int]) -> None:
    made = make(name, photo(*shape))
    assert made.shape == shape
    assert made.dtype == np.uint8


@pytest.mark.parametrize("name", NAMES)
def test_equal_inputs_give_equal_pictures_and_the_photo_is_untouched(name: str) -> None:
    pixels = photo()
    before = pixels.copy()
    assert np.array_equal(make(name, pixels), make(name, pixels))
    assert np.array_equal(pixels, before)


@pytest.mark.parametrize("name", NAMES)
def test_a_photo_with_structure_gives_a_picture_with_structure(name: str) -> None:
    made = make(name, photo())
    assert int(made.max()) - int(made.min()) > 60


@pytest.mark.parametrize("name", ["sketch_dog", "sketch_dodge", "sketch_mix"])
@pytest.mark.parametrize("level", [0, 128, 255])
def test_flat_areas_stay_white_paper_at_any_brightness(name: str, level: int) -> None:
    assert make(name, np.full((20, 20, 3), level, np.uint8)).min() == 255


@pytest.mark.parametrize("sigma", [0.6, 1.44, 5.0])
def test_blur_is_the_gaussian_of_its_sigma(sigma: float) -> None:
    impulse = np.zeros((61, 41), np.float32)
    impulse[30, 20] = 1
    rows, columns = np.indices(impulse.shape)
    expected = np.exp(-((rows - 30) ** 2 + (columns - 20) ** 2) / (2 * sigma**2))
    assert np.allclose(drawn.blur(impulse, sigma), expected / expected.sum(), atol=4e-4)
    flat = np.full((5, 9), 0.3, np.float32)
    assert np.allclose(drawn.blur(flat, sigma), flat, atol=1e-6)


def test_dog_draws_a_line_in_dark_cloth_nearly_as_strongly_as_in_the_light() -> None:
    def contrast(scale: float) -> int:
        picture = np.full((21, 21, 3), 200 * scale)
        picture[:, 10] = 100 * scale
        return 255 - int(make("sketch_dog", picture.astype(np.uint8))[10, 10])

    light, dark = contrast(1.0), contrast(0.2)
    assert light > 200
    assert dark > 0.4 * light


def test_dog_follows_the_formula() -> None:
    log = np.log(photo() @ np.array([0.299, 0.587, 0.114]) / 255 + 0.08)
    difference = drawn.blur(log, 1.2) - drawn.blur(log, 1.6 * 1.2)
    expected = np.clip(1 + 5 * np.minimum(difference + 0.01, 0), 0, 1) * 255
    made = make("sketch_dog", photo(), sigma=1.2, gain=5.0, bias=0.01)
    assert np.abs(made - expected).max() < 1


def test_dodge_follows_the_formula() -> None:
    plane = photo() @ np.array([0.299, 0.587, 0.114]) / 255
    ratio = (drawn.blur(plane, 0.6) + 0.08) / (drawn.blur(plane, 5.0) + 0.08)
    expected = np.clip(ratio, 0, 1) ** 1.8 * 255
    assert np.abs(make("sketch_dodge", photo()) - expected).max() < 1


def test_mix_is_sixty_percent_dodge_and_forty_percent_dog() -> None:
    dodge, dog = (make(f"sketch_{kind}", photo()).astype(float) for kind in ("dodge", "dog"))
    assert np.abs(make("sketch_mix", photo()) - (0.6 * dodge + 0.4 * dog)).max() <= 1.01


@pytest.mark.parametrize("scale", [1.0, 0.2])
def test_xdog_inks_its_share_of_the_paper_even_on_dark_pictures(scale: float) -> None:
    texture = (rng().integers(0, 256, (64, 64, 3)) * scale).astype(np.uint8)
    inked = (make("sketch_xdog", texture, ink=18.0) < 250).mean()
    assert 0.12 < inked < 0.19


def test_loosened_lines_move_and_differ_by_draw_but_remain_a_drawing() -> None:
    plain = make("sketch_dog", photo(), loosen=False)
    first = make("sketch_dog", photo(), content="a", loosen=True)
    second = make("sketch_dog", photo(), content="b", loosen=True)
    assert not np.array_equal(plain, first)
    assert not np.array_equal(first, second)
    assert 0.4 < (first < 128).sum() / (plain < 128).sum() < 1.6


def test_loosening_by_nothing_changes_nothing() -> None:
    picture = make("sketch_dodge", photo())
    same = loosen_lines(picture, rng(), degrees=0, fraction=0, warp=0, dropout=0)
    assert np.array_equal(picture, same)


def test_dropout_only_ever_removes_ink() -> None:
    picture = make("sketch_dodge", photo())
    fewer = loosen_lines(picture, rng(), degrees=0, fraction=0, warp=0, dropout=0.3)
    assert (fewer >= picture).all()
    assert (fewer == 255).mean() >= 0.3


def test_loosening_uncovers_white_paper() -> None:
    black = np.zeros((40, 40), np.uint8)
    moved = [loosen_lines(black, rng(s), degrees=0, fraction=0.2, warp=0, dropout=0) for s in range(8)]
    assert any(picture[0].mean() == 255 or picture[-1].mean() == 255 for picture in moved)


def test_nir_sees_red_brighter_than_green_and_blue_darkest() -> None:
    stripes = np.zeros((30, 30, 3), np.uint8)
    for channel in range(3):
        stripes[:, 10 * channel : 10 * channel + 10, channel] = 200
    made = nir(stripes, rng(), noise=0.0)
    red, green, blue = (int(made[15, column]) for column in (5, 15, 25))
    assert red > green > blue


def test_nir_levels_lie_within_the_camera_range_before_noise() -> None:
    made = nir(photo(), rng(), noise=0.0)
    assert (made.min(), made.max()) == (round(0.15 * 255), round(0.90 * 255))


def test_nir_noise_has_its_strength_and_comes_from_the_generator_state() -> None:
    flat = np.full((100, 100, 3), 120, np.uint8)
    first, second = nir(flat, rng(1)), nir(flat, rng(2))
    assert first.std() == pytest.approx(0.02 * 255, rel=0.1)
    assert not np.array_equal(first, second)


def test_nir_keeps_the_brightness_of_a_picture_of_one_colour() -> None:
    dark, light = (nir(np.full((9, 9, 3), level, np.uint8), rng(), noise=0.0).mean() for level in (30, 220))
    assert dark < light


def test_gray_is_a_convex_mix_of_the_channels() -> None:
    pixels = rng().integers(0, 256, (20, 20, 3)).astype(np.uint8)
    for seed in range(5):
        made = computed.gray(pixels[None], [rng(seed)], gamma_range=1.0)[0].astype(int)
        assert (made >= pixels.min(axis=-1)).all()
        assert (made <= pixels.max(axis=-1)).all()


def test_gray_draws_another_mix_and_gamma_for_another_photo() -> None:
    neutral = np.full((4, 4, 3), 100, np.uint8)
    gammas = {int(make("ir_gray", neutral, content=str(i))[0, 0]) for i in range(10)}
    mixes = {int(make("ir_gray", photo(), content=str(i), gamma_range=1.0)[8, 28]) for i in range(9)}
    assert len(gammas) > 5
    assert len(mixes) > 5
    exponents = np.log(np.array(sorted(gammas)) / 255) / np.log(100 / 255)
    assert exponents.min() > 1 / 1.55
    assert exponents.max() < 1.55


def left_half(pixels: Pixels) -> Mask:
    mask = np.zeros(pixels.shape[:2], bool)
    mask[:, : mask.shape[1] // 2] = True
    return mask


def test_a_cut_out_sketch_has_its_lines_within_the_mask_and_white_paper_around() -> None:
    pixels = photo()
    mask = left_half(pixels)
    plain, cut = make("sketch_dodge", pixels), make("sketch_dodge", pixels, mask=mask, cut_out=1.0)
    assert plain[~mask].min() < 255
    assert cut[~mask].min() == 255
    assert np.array_equal(cut[mask], plain[mask])


def test_about_half_of_the_loosened_sketches_are_cut_out_and_none_of_the_others() -> None:
    pixels = photo()
    mask = np.zeros(pixels.shape[:2], bool)
    mask[0, 0] = True  # next to nothing is left of a drawing that is cut out
    loose = [make("sketch_dodge", pixels, str(i), mask=mask, loosen=True) for i in range(40)]
    assert 10 <= sum((drawn < 200).sum() < 5 for drawn in loose) <= 30
    assert np.array_equal(make("sketch_dodge", pixels, mask=mask), make("sketch_dodge", pixels))


def test_an_empty_mask_cuts_nothing_out() -> None:
    empty = np.zeros(photo().shape[:2], bool)
    assert np.array_equal(make("sketch_dog", photo(), mask=empty, cut_out=1.0), make("sketch_dog", photo()))


def test_tir_is_warmer_on_the_mask_than_around_it() -> None:
    flat = np.full((40, 40, 3), 128, np.uint8)
    mask = left_half(flat)
    made = make("ir_tir", flat, mask=mask)
    assert made[:, :15].mean() > made[:, 25:].mean() + 30


def test_tir_follows_the_formula() -> None:
    pixels = photo()
    pixels[20:40, 5:15] = (210, 150, 120)  # skin
    pixels[..., 2] |= 1  # then no pixel lies on the border of the rule, where rounding decides
    mask = left_half(pixels).astype(np.float32)
    light = pixels @ np.array([0.299, 0.587, 0.114]) / 255
    red, green, blue = np.moveaxis(pixels / 255, -1, 0)
    skin = (red > 0.3) & (red > green) & (green > 0.85 * blue) & (red - green > 0.03)
    expected = 0.25 + 0.40 * mask - 0.22 * mask * light + 0.28 * skin * mask + 0.10 * light * (1 - mask)
    expected = np.clip(drawn.blur(expected, 1.2), 0, 1) * 255
    made = make("ir_tir", pixels, mask=mask.astype(bool), noise=0.0)
    assert np.abs(made - expected).max() < 1


def test_tir_shows_skin_warmer_than_cloth_and_dark_cloth_warmer_than_light() -> None:
    stripes = np.zeros((30, 60, 3), np.uint8)
    stripes[:, :20], stripes[:, 20:40], stripes[:, 40:] = (210, 150, 120), (30, 30, 40), (230, 230, 240)
    made = make("ir_tir", stripes, mask=np.ones((30, 60), bool), noise=0.0)
    assert made[15, 10] > made[15, 30] > made[15, 50]


def test_tir_of_an_empty_mask_is_faint_background() -> None:
    made = make("ir_tir", photo(), mask=np.zeros(photo().shape[:2], bool), noise=0.0)
    assert made.min() >= round(0.25 * 255) - 1
    assert made.max() <= round(0.35 * 255) + 1
