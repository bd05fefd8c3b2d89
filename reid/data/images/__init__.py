"""Encoded bytes <-> pixels: reading pictures of any sensor as 8 bits, with limits, and encoding them."""

from __future__ import annotations

from reid.data.images.decoding import MAX_PIXELS, DecodedPicture, decode_rgb, open_image, read_picture
from reid.data.images.encoding import (
    deep_png,
    encode_image,
    encode_jpeg,
    encode_mask,
    encode_png,
    thumbnail,
)
from reid.data.images.foreign import foreign_name
from reid.data.images.notes import PictureNote
from reid.data.images.plain import is_one_bit_png, is_plain
from reid.data.images.sensors import DEFAULT_SENSORS, SensorSettings
from reid.data.images.value_range import Pixels
from reid.data.images.wholeness import check_whole

__all__ = [
    "DEFAULT_SENSORS",
    "MAX_PIXELS",
    "DecodedPicture",
    "PictureNote",
    "Pixels",
    "SensorSettings",
    "check_whole",
    "decode_rgb",
    "deep_png",
    "encode_image",
    "encode_jpeg",
    "encode_mask",
    "encode_png",
    "foreign_name",
    "is_one_bit_png",
    "is_plain",
    "open_image",
    "read_picture",
    "thumbnail",
]
