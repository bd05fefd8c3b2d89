"""JPEGs with a lost part, which decode in silence, are set aside; whole ones of any kind are not."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image as PILImage

from reid.data.images import check_whole, encode_png, open_image
from reid.data.readers.base import to_image, to_mask
from reid.errors import DataError


def photo(**options: Any) -> bytes:
    coarse = np.random.default_rng(0).integers(0, 256, (24, 12, 3), dtype=np.uint8)
    stream = io.BytesIO()
    PILImage.fromarray(coarse).resize((192, 384)).save(stream, "JPEG", **options)
    return stream.getvalue()


def cut_and_closed(data: bytes) -> bytes:
    return data[: len(data) * 4 // 10] + b"\xff\xd9"


def zero_filled(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes(64) + data[middle + 64 :]


def without_a_piece(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + data[middle + 500 :]


def overwritten(data: bytes) -> bytes:
    middle = len(data) // 2
    return (
        data[:middle] + np.random.default_rng(1).bytes(600).replace(b"\xff", b"\x00") + data[middle + 600 :]
    )


@pytest.mark.parametrize("damage", [cut_and_closed, zero_filled, without_a_piece, overwritten])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 2}], ids=str)
def test_a_jpeg_with_a_lost_part_is_refused_by_name(
    damage: Callable[[bytes], bytes], options: dict[str, Any]
) -> None:
    data = damage(photo(quality=90, **options))
    assert open_image(data, "x").size == (192, 384), "it decodes without an error"
    with pytest.raises(DataError, match=r"0001/c1\.jpg: a part of the JPEG is lost \(.+\); get a whole copy"):
        to_image(data, "0001/c1.jpg", 10**6)


def test_a_mask_with_a_lost_part_is_refused_too() -> None:
    with pytest.raises(DataError, match=r"m\.jpg: a part of the JPEG is lost"):
        to_mask(cut_and_closed(photo()), "m.jpg", 10**6)


@pytest.mark.parametrize("tone", [0, 128, 255])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_flat_borders_are_no_holes(tone: int, mode: str) -> None:
    pixels = np.full((300, 200, 3), tone, np.uint8)
    pixels[:40, :40] = np.random.default_rng(0).integers(0, 256, (40, 40, 3))
    for options in ({}, {"optimize": True, "quality": 40}, {"progressive": True}, {"restart_marker_rows": 1}):
        stream = io.BytesIO()
        PILImage.fromarray(pixels).convert(mode).save(stream, "JPEG", **options)
        check_whole(stream.getvalue(), "x")


def test_what_cameras_add_between_and_after_is_no_damage() -> None:
    data = photo()
    check_whole(data[:-2] + b"\0" * 3 + data[-2:], "a few bytes before the end")
    check_whole(data + b"\0" * 5000, "an appendix")
    check_whole(data[:2] + b"\xff\xe1\x10\x02" + bytes(0x1000) + data[2:], "an empty application block")


def test_other_formats_are_not_asked() -> None:
    check_whole(encode_png(np.zeros((4, 4, 3), np.uint8))[:40], "x")
