"""What is stored as it is: only what every tool sees alike, in 8 bits."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image as PILImage

from reid.data.images import is_plain, open_image, read_picture
from reid.data.readers.base import to_image
from tests.support.sets.pngs import png
from tests.support.sets.shards import file_bytes

RGB = np.random.default_rng(0).integers(0, 256, (8, 6, 3), dtype=np.uint8)
DEEP = (np.arange(48, dtype=np.uint16) * 1300).reshape(8, 6)


def netpbm_of_sixteen_bits() -> bytes:
    return b"P5 6 8 65535\n" + DEEP.astype(">u2").tobytes()


@pytest.mark.parametrize(
    "data",
    [
        netpbm_of_sixteen_bits(),
        file_bytes(PILImage.fromarray(DEEP), "JPEG2000"),
        file_bytes(PILImage.fromarray(DEEP), "TIFF", compression="tiff_lzw"),
    ],
    ids=["netpbm", "JPEG 2000", "TIFF"],
)
def test_deep_pictures_of_any_format_are_stored_in_eight_bits(data: bytes) -> None:
    stored = to_image(data, "x", 100).image
    assert not is_plain(data) and is_plain(stored)
    shown = PILImage.open(io.BytesIO(stored))
    assert shown.mode == "L" and np.array_equal(np.asarray(shown), np.asarray(open_image(data, "x")))
    assert np.ptp(np.asarray(shown)) == 255


def test_deep_colours_with_alpha_are_stored_in_eight_bits_on_white() -> None:
    values = np.full((2, 2, 4), 65_535, ">u2")
    values[0, 0] = (0x1234, 0x5678, 0x9ABC, 65_535)
    values[1, 1, 3] = 0
    data = png(2, 2, 16, 6, b"".join(b"\0" + row.tobytes() for row in values))
    stored = to_image(data, "x", 100).image
    assert not is_plain(data) and is_plain(stored)
    assert np.asarray(open_image(stored, "x"))[[0, 1], [0, 1]].tolist() == [[0x12, 0x56, 0x9A], [255] * 3]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "JPEG2000", "AVIF", "PPM"])
def test_one_picture_of_eight_bits_stays_byte_for_byte(kind: str) -> None:
    data = file_bytes(PILImage.fromarray(RGB), kind)
    assert to_image(data, "x", 100).image == data


@pytest.mark.parametrize(("kind", "word"), [("GIF", "3"), ("TIFF", "3"), ("WEBP", "3"), ("PNG", "3")])
def test_of_several_pictures_in_a_file_the_first_is_taken_and_told(kind: str, word: str) -> None:
    frames = [PILImage.fromarray(np.roll(RGB, i, 0)) for i in range(3)]
    data = file_bytes(frames[0], kind, save_all=True, append_images=frames[1:])
    (note,) = read_picture(data, "x").notes
    assert note.text == f"it holds {word} pictures; the first one is taken"
    assert is_plain(to_image(data, "x", 100).image)
