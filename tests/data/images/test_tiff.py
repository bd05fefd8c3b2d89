"""TIFFs of sensors: planes, more bands than colours, compressions; each read rightly, or refused by name."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image as PILImage

from reid.data.images import SensorSettings, is_plain, open_image, read_picture
from reid.data.readers.base import to_image, to_images
from reid.errors import DataError
from reid.modality import Modality
from tests.support.sets.pngs import png
from tests.support.sets.shards import file_bytes
from tests.support.sets.tiffs import raw_tiff

RGB, NIR = Modality.RGB, Modality.NIR
EIGHT = np.random.default_rng(0).integers(0, 256, (6, 5, 4), dtype=np.uint8)
SIXTEEN = EIGHT.astype(np.uint16) * 257
TAKING = SensorSettings(fourth=Modality.NIR)


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("planes", [False, True])
@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("deflate", [False, True])
def test_colours_are_the_same_however_they_lie(
    deep: bool, planes: bool, big_endian: bool, deflate: bool
) -> None:
    bands = (SIXTEEN if deep else EIGHT)[..., :3]
    data = raw_tiff(bands, planes=planes, big_endian=big_endian, deflate=deflate)
    assert np.array_equal(np.asarray(open_image(data, "x")), EIGHT[..., :3])
    stored = to_image(data, "x", 100).image
    assert is_plain(stored) and np.array_equal(np.asarray(open_image(stored, "x")), EIGHT[..., :3])
    assert (stored == data) == (not deep), "what has 8 bits is stored as it is"


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("planes", [False, True])
@pytest.mark.parametrize("extra", [0, None])
def test_a_fourth_band_is_left_out_with_a_note_or_taken_as_near_infrared(
    deep: bool, planes: bool, extra: int | None
) -> None:
    data = raw_tiff(SIXTEEN if deep else EIGHT, planes=planes, extra=extra)
    dropped = to_images(data, "x", 100, RGB)
    assert [note.kind for note in dropped[RGB].notes] == ["band-left-out"]
    assert list(dropped) == [RGB]
    taken = to_images(data, "x", 100, RGB, TAKING)
    assert taken[RGB].notes == () and is_plain(taken[RGB].image)
    assert np.array_equal(np.asarray(open_image(taken[NIR].image, "x")), EIGHT[..., 3])
    for found in (dropped, taken):
        assert np.array_equal(np.asarray(open_image(found[RGB].image, "x")), EIGHT[..., :3])


def test_an_alpha_band_stays_alpha_unless_it_is_taken() -> None:
    bands = EIGHT.copy()
    bands[..., 3] = 255
    bands[0, 0, 3] = 0
    data = raw_tiff(bands, extra=2)
    shown = np.asarray(open_image(data, "x"))
    assert shown[0, 0].tolist() == [255, 255, 255] and np.array_equal(shown[1:], bands[1:, :, :3])
    assert np.array_equal(
        np.asarray(open_image(to_images(data, "x", 100, RGB, TAKING)[NIR].image, "x")), bands[..., 3]
    )


def test_a_fourth_band_of_another_modality_is_no_near_infrared() -> None:
    assert list(to_images(raw_tiff(EIGHT), "x", 100, Modality.SKETCH, TAKING)) == [Modality.SKETCH]


def test_of_five_bands_two_are_told() -> None:
    five = np.dstack([EIGHT, EIGHT[..., :1]])
    (note,) = read_picture(raw_tiff(five), "x").notes
    assert note.text == "2 bands after the third beside its colours, left out"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (
            raw_tiff(EIGHT[..., :3], photometric=1),
            "3 bands of 8 bits, of which the file does not say which are",
        ),
        (raw_tiff(EIGHT, photometric=1, planes=True), "4 bands of 8 bits in planes, of which"),
        (raw_tiff(EIGHT[..., :3].astype(np.float32)), "a TIFF of 3 bands of 32 bits; write it as 8-bit RGB"),
        (raw_tiff(EIGHT[..., :3], compression=34712), "jp2000|JPEG 2000|34712"),
        (raw_tiff(SIXTEEN[..., :3], planes=True)[:-80], "not an image|truncated or corrupt"),
    ],
    ids=["grey bands", "grey planes", "floats", "unknown compression", "cut"],
)
def test_what_cannot_be_read_is_named(data: bytes, reason: str) -> None:
    with pytest.raises(DataError, match=rf"a\.tif: .*({reason})"):
        open_image(data, "a.tif")


@pytest.mark.parametrize("kind", ["tiff_lzw", "tiff_adobe_deflate", "packbits", "lzma", "zstd"])
def test_every_compression_of_one_deep_channel_is_read(kind: str) -> None:
    values = np.array([[1000, 1500], [1750, 2000]], np.uint16)
    data = file_bytes(PILImage.fromarray(values), "TIFF", compression=kind)
    assert np.asarray(open_image(data, "x")).tolist() == [[0, 128], [191, 255]]


def test_the_limit_of_pixels_holds_before_any_band_is_decoded() -> None:
    with pytest.raises(DataError, match="5x6 exceeds the limit of 29 pixels"):
        open_image(raw_tiff(SIXTEEN[..., :3], planes=True), "x", max_pixels=29)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("deflate", [False, True])
def test_grey_whose_smallest_value_is_white_is_shown_so_at_every_depth(
    dtype: type[np.generic], deflate: bool
) -> None:
    rising = np.arange(256).reshape(16, 16, 1).astype(dtype)
    shown = np.asarray(open_image(raw_tiff(rising, photometric=0, deflate=deflate), "x", 1000, "min_max"))
    assert np.array_equal(shown, 255 - rising[..., 0])


@pytest.mark.parametrize("kind", ["tiff", "planes", "png"])
@pytest.mark.parametrize("bits", [12, 16])
def test_colours_that_fill_only_the_lower_of_16_bits_are_told(kind: str, bits: int) -> None:
    values = SIXTEEN[..., :3] >> (16 - bits)
    if kind == "png":
        rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
        data = png(values.shape[1], values.shape[0], depth=16, kind=2, body=rows)
    else:
        data = raw_tiff(values, planes=kind == "planes")
    told = [note.kind for note in read_picture(data, "x").notes]
    assert told == (["dim-deep-colours"] if bits == 12 else [])
