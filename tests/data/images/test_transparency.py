"""Transparent pictures: on white, but never white all over where there are colours."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image as PILImage

from reid.config import FixedRange
from reid.data.images import is_plain, read_picture
from reid.data.readers.base import to_image
from tests.support.sets.pngs import png
from tests.support.sets.shards import file_bytes

COLOURS = np.random.default_rng(0).integers(0, 200, (12, 8, 3), dtype=np.uint8)
MASK = np.indices((12, 8)).sum(0) % 2


def with_alpha(alpha: np.ndarray, kind: str = "PNG") -> bytes:
    layers = np.dstack([COLOURS, alpha.astype(np.uint8)])
    return file_bytes(PILImage.fromarray(layers), kind, **({"lossless": True} if kind == "WEBP" else {}))


@pytest.mark.parametrize("alpha", [MASK * 0, MASK, MASK * 3], ids=["nothing", "0/1 mask", "labels 0 and 3"])
def test_alpha_that_hides_everything_shows_the_colours_and_says_so(alpha: np.ndarray) -> None:
    stored = to_image(with_alpha(alpha), "x", 1000)
    assert np.array_equal(np.asarray(read_picture(stored.image, "x").image), COLOURS)
    assert is_plain(stored.image)
    assert [note.kind for note in stored.notes] == ["hidden-colours"]
    assert f"largest value {alpha.max()} of 255" in stored.notes[0].text


@pytest.mark.parametrize("alpha", [MASK * 255, np.full((12, 8), 255)], ids=["a real mask", "opaque"])
def test_alpha_that_shows_something_is_obeyed(alpha: np.ndarray) -> None:
    found = read_picture(with_alpha(alpha), "x")
    shown = np.asarray(found.image)
    assert found.notes == ()
    assert (shown[alpha == 0] == 255).all() and np.array_equal(shown[alpha == 255], COLOURS[alpha == 255])


def test_other_formats_hide_no_more_than_png() -> None:
    grey = np.dstack([COLOURS[..., 0], MASK.astype(np.uint8)])
    for data in (with_alpha(MASK, "TIFF"), file_bytes(PILImage.fromarray(grey, "LA"))):
        assert [note.kind for note in read_picture(data, "x").notes] == ["hidden-colours"]


def test_grey_of_sixteen_bits_with_alpha_follows_the_range() -> None:
    values = np.full((2, 3, 2), 65_535, ">u2")
    values[..., 0] = [[28_000, 28_500, 29_000], [28_250, 28_750, 28_000]]
    values[1, 2, 1] = 0
    data = png(3, 2, 16, 4, b"".join(b"\0" + row.tobytes() for row in values))
    assert not is_plain(data)
    found = read_picture(data, "x", value_range=FixedRange(fixed=(28_000, 29_000)))
    assert np.asarray(found.image)[..., 0].tolist() == [[0, 128, 255], [64, 191, 255]]
