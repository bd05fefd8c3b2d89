"""Encoded bytes to pixels: every odd picture is handled, or refused with its source's name."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image as PILImage

from reid.config import ResizeFilter
from reid.data.images import (
    decode_rgb,
    encode_image,
    encode_jpeg,
    encode_mask,
    encode_png,
    is_one_bit_png,
    is_plain,
    open_image,
    thumbnail,
)
from reid.data.readers.base import to_image, to_mask
from reid.errors import DataError
from tests.support.sets.pngs import bomb, raw_png
from tests.support.sets.shards import file_bytes

LIMIT = 1_000_000
RGB = np.arange(3 * 4 * 3, dtype=np.uint8).reshape(3, 4, 3) * 7


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(open_image(data, "x"))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_pictures_keep_their_pixels(kind: str) -> None:
    assert np.array_equal(pixels(file_bytes(PILImage.fromarray(RGB), kind)), RGB)


def test_png_encoding_is_lossless_and_jpeg_close() -> None:
    assert np.array_equal(decode_rgb(encode_png(RGB), "x"), RGB)
    assert np.array_equal(pixels(encode_png(RGB[..., 0])), RGB[..., 0])
    smooth = np.full((16, 16, 3), (200, 100, 50), np.uint8)
    assert np.abs(decode_rgb(encode_jpeg(smooth), "x").astype(int) - smooth).max() <= 4


def test_a_mask_is_one_bit_and_comes_back() -> None:
    mask = RGB[..., 0] > 30
    assert PILImage.open(io.BytesIO(encode_mask(mask))).mode == "1"
    assert np.array_equal(pixels(encode_mask(mask)) > 127, mask)


def test_grey_stays_one_channel_and_is_replicated_for_models() -> None:
    data = file_bytes(PILImage.fromarray(RGB[..., 0]))
    assert open_image(data, "x").mode == "L"
    assert np.array_equal(decode_rgb(data, "x"), np.repeat(RGB[..., :1], 3, axis=2))


def test_sixteen_bits_are_stretched_from_their_own_range() -> None:
    values = np.array([[1000, 1500], [1750, 2000]], np.uint16)
    for kind in ("PNG", "TIFF"):
        assert pixels(file_bytes(PILImage.fromarray(values), kind)).tolist() == [[0, 128], [191, 255]]
    constant = np.full((2, 2), 700, np.uint16)
    assert pixels(file_bytes(PILImage.fromarray(constant))).tolist() == [[0, 0], [0, 0]]


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_floats_are_stretched_over_what_is_finite() -> None:
    values = np.array([[-1.0, np.nan, 1.0], [np.inf, -np.inf, 0.0]], np.float32)
    assert pixels(file_bytes(PILImage.fromarray(values), "TIFF")).tolist() == [[0, 0, 255], [255, 0, 128]]
    nothing = np.full((1, 2), np.nan, np.float32)
    assert pixels(file_bytes(PILImage.fromarray(nothing), "TIFF")).tolist() == [[0, 0]]


def test_sixteen_bit_colours_are_stored_as_the_eight_bits_that_are_seen() -> None:
    values = np.array([[[0, 256, 65535], [4096, 255, 1000]], [[1, 2, 3], [512, 0, 40000]]], ">u2")
    data = raw_png(2, 16, b"".join(b"\0" + row.tobytes() for row in values))
    assert np.array_equal(pixels(data), values.astype(np.uint16) >> 8)
    stored = to_image(data, "x", LIMIT).image
    assert is_plain(stored) and not is_plain(data)
    assert np.array_equal(pixels(stored), pixels(data))


def test_a_mask_file_becomes_one_bit_and_a_one_bit_one_stays_as_it_is() -> None:
    mask = RGB[..., 0] > 30
    ours = encode_mask(mask)
    assert to_mask(ours, "m.png", LIMIT) == ours
    for data in (encode_png(mask.astype(np.uint8) * 255), file_bytes(PILImage.fromarray(mask), "TIFF")):
        assert not is_one_bit_png(data)
        assert is_one_bit_png(to_mask(data, "m.png", LIMIT))
        assert np.array_equal(pixels(to_mask(data, "m.png", LIMIT)) > 127, mask)
    with pytest.raises(DataError, match=r"m\.png: empty file"):
        to_mask(b"", "m.png", LIMIT)


def test_the_files_name_does_not_matter() -> None:
    assert np.array_equal(pixels(encode_png(RGB)), np.asarray(open_image(encode_png(RGB), "picture.jpg")))


def test_cmyk_becomes_the_same_colours() -> None:
    red = PILImage.new("CMYK", (8, 8), (0, 255, 255, 0))
    assert np.abs(pixels(file_bytes(red, "JPEG", quality=95)).astype(int) - (255, 0, 0)).max() <= 8


def palette(transparency: int | None) -> bytes:
    image = PILImage.fromarray(np.array([[0, 1], [1, 0]], np.uint8), "P")
    image.putpalette([200, 0, 0, 0, 0, 200])
    return file_bytes(image, **({} if transparency is None else {"transparency": transparency}))


def test_a_palette_is_looked_up() -> None:
    assert pixels(palette(None)).tolist() == [[[200, 0, 0], [0, 0, 200]], [[0, 0, 200], [200, 0, 0]]]
    assert is_plain(palette(None))


@pytest.mark.parametrize(
    "data",
    [
        palette(0),
        file_bytes(PILImage.new("RGBA", (2, 2), (10, 20, 30, 0))),
        file_bytes(PILImage.new("LA", (2, 2), (10, 0))),
        file_bytes(PILImage.new("RGB", (2, 2), (9, 9, 9)), transparency=(9, 9, 9)),
        file_bytes(PILImage.new("L", (2, 2), 9), transparency=9),
    ],
    ids=["palette", "RGBA", "LA", "RGB key", "L key"],
)
def test_what_is_transparent_is_white(data: bytes) -> None:
    assert pixels(data)[0, 0].tolist() == [255, 255, 255]
    assert not is_plain(data)
    assert is_plain(to_image(data, "x", LIMIT).image), "other tools see the same picture"


def test_half_transparent_is_half_white() -> None:
    assert pixels(file_bytes(PILImage.new("RGBA", (1, 1), (0, 100, 200, 128)))).tolist() == [
        [[127, 177, 227]]
    ]


@pytest.mark.parametrize(
    ("orientation", "corner"),
    list(enumerate([(0, 0), (0, -1), (-1, -1), (-1, 0), (0, 0), (-1, 0), (-1, -1), (0, -1)], 1)),
)
def test_pictures_are_turned_upright(orientation: int, corner: tuple[int, int]) -> None:
    exif = PILImage.Exif()
    exif[0x0112] = orientation
    data = file_bytes(PILImage.fromarray(RGB), exif=exif)
    turned = pixels(data)
    assert turned.shape == ((3, 4, 3) if orientation < 5 else (4, 3, 3))
    assert np.array_equal(turned[0, 0], RGB[corner])
    assert is_plain(data) == (orientation == 1)
    stored = to_image(data, "x", LIMIT)
    assert (stored.height, stored.width) == turned.shape[:2]
    assert np.array_equal(pixels(stored.image), turned), "it is turned once"


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_says_nothing_about_the_pixels() -> None:
    for exif in (b"notatiffatall", b"Exif\0\0II*\0garbagegarbage"):
        data = file_bytes(PILImage.fromarray(RGB), exif=exif)
        assert np.array_equal(pixels(data), RGB)
        assert is_plain(data)


def test_an_animation_gives_its_first_frame() -> None:
    frames = [PILImage.new("P", (4, 4), 0) for _ in range(3)]
    for i, frame in enumerate(frames):
        frame.putpalette([80 * i, 0, 0])
    data = file_bytes(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert PILImage.open(io.BytesIO(data)).n_frames == 3
    assert pixels(data)[0, 0].tolist() == [0, 0, 0]
    assert not is_plain(data)


NOISE = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", r"empty file \(0 bytes\); get a whole copy of it"),
        (b"hello, I am a text", r"not an image that Pillow can read \(it is text\); convert it"),
        (
            b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00",
            r"not an image .*\(it is a HEIC photo of a phone\); convert it to PNG",
        ),
        (b"\x00" * 100, "not an image that Pillow can read; convert it"),
        (encode_jpeg(NOISE)[:2000], "truncated or corrupt"),
        (encode_png(NOISE)[:2000], "truncated or corrupt"),
        (encode_png(NOISE)[:60] + b"\xff\x00" + encode_png(NOISE)[62:], "truncated or corrupt"),
    ],
    ids=["zero bytes", "text", "heic", "zeros", "cut jpeg", "cut png", "flipped bits"],
)
def test_what_is_no_picture_is_refused_by_name(data: bytes, reason: str) -> None:
    with pytest.raises(DataError, match=rf"folder/a\.jpg: .*{reason}"):
        open_image(data, "folder/a.jpg")


@pytest.mark.filterwarnings("ignore")
def test_random_damage_never_raises_anything_else() -> None:
    rng = np.random.default_rng(1)
    sixteen = PILImage.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8))
    whole = [file_bytes(PILImage.fromarray(NOISE[:8, :8]), kind) for kind in ("PNG", "JPEG", "TIFF", "GIF")]
    whole += [file_bytes(sixteen), palette(0)]
    refused = 0
    for _ in range(600):
        data = bytearray(whole[rng.integers(len(whole))])
        for _ in range(rng.integers(1, 6)):
            data[rng.integers(len(data))] = rng.integers(256)
        try:
            to_image(bytes(data), "x", LIMIT)
        except DataError:
            refused += 1
    assert 100 < refused < 600


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("side", [8001, 10_000, 60_000])
def test_too_many_pixels_are_refused_before_any_is_decoded(
    side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)
    with pytest.raises(DataError, match=r"bomb\.png: .*pixels.*; cut the object out, or shrink it"):
        open_image(bomb(side), "bomb.png")


def test_the_limit_is_the_callers_and_inclusive() -> None:
    data = encode_png(RGB)
    assert open_image(data, "x", max_pixels=12).size == (4, 3)
    with pytest.raises(DataError, match="4x3 exceeds the limit of 11 pixels"):
        open_image(data, "x", max_pixels=11)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "WEBP"])
def test_plain_pictures_are_stored_byte_for_byte(kind: str) -> None:
    data = file_bytes(PILImage.fromarray(RGB), kind)
    stored = to_image(data, "x", LIMIT)
    assert stored.image == data
    assert (stored.width, stored.height, stored.origin) == (4, 3, "captured")


def test_others_are_stored_as_what_they_decode_to() -> None:
    values = np.arange(12, dtype=np.uint16).reshape(3, 4) * 999
    for data in (
        file_bytes(PILImage.fromarray(values)),
        file_bytes(PILImage.new("CMYK", (4, 3), (0, 9, 99, 0)), "JPEG"),
    ):
        stored = to_image(data, "x", LIMIT)
        assert stored.image != data
        assert is_plain(stored.image)
        assert np.array_equal(pixels(stored.image), pixels(data))


def test_decoding_resizes_to_height_and_width() -> None:
    assert decode_rgb(encode_png(NOISE), "x", (32, 16)).shape == (32, 16, 3)
    flat = np.full((10, 20, 3), 77, np.uint8)
    assert np.unique(decode_rgb(encode_png(flat), "x", (5, 9))).tolist() == [77]


def test_resizing_uses_the_named_filter_antialiased() -> None:
    row = encode_png(np.full((1, 4, 3), [[70], [0], [0], [0]], np.uint8))
    assert decode_rgb(row, "x", (1, 2), "nearest")[0, :, 0].tolist() == [0, 0]
    # Halving: a triangle two source pixels wide either way, weights 3, 3, 1 of 7 at the border.
    assert decode_rgb(row, "x", (1, 2), "bilinear")[0, :, 0].tolist() == [30, 0]
    large = encode_png(NOISE)
    filters: tuple[ResizeFilter, ...] = ("nearest", "bilinear", "bicubic", "lanczos")
    found = {name: decode_rgb(large, "x", (20, 12), name) for name in filters}
    assert len({picture.tobytes() for picture in found.values()}) == 4
    assert np.array_equal(decode_rgb(large, "x", (20, 12)), found["bicubic"])
    sharpness = [found[name].astype(float).std() for name in ("bilinear", "bicubic", "lanczos")]
    assert sharpness == sorted(sharpness), "wider filters keep more of the high frequencies"


@pytest.mark.parametrize("name", ["nearest", "bilinear", "bicubic", "lanczos"])
def test_a_picture_of_the_right_size_is_not_resampled(name: ResizeFilter) -> None:
    assert np.array_equal(decode_rgb(encode_png(NOISE), "x", (64, 64), name), NOISE)


def test_a_thumbnail_keeps_the_aspect_and_never_grows() -> None:
    data = encode_png(np.zeros((40, 80, 3), np.uint8))
    assert open_image(thumbnail(data, "x", 20), "x").size == (20, 10)
    assert open_image(thumbnail(data, "x", 200), "x").size == (80, 40)


def test_a_picture_that_was_turned_upright_does_not_say_that_it_lies() -> None:
    lying = PILImage.new("RGB", (6, 4), "red")
    exif = PILImage.Exif()
    exif[0x0112] = 6
    once = open_image(file_bytes(lying, "JPEG", exif=exif), "photo")
    assert once.size == (4, 6) and once.getexif().get(0x0112, 1) == 1
    assert PILImage.open(io.BytesIO(encode_image(once, "photo"))).size == (4, 6)
