"""Pixels -> encoded bytes."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image as PILImage

from reid.config import RangeRule
from reid.data.images.decoding import AGAIN, eight_bit, open_image
from reid.data.images.upright import is_upright, upright
from reid.data.images.value_range import Pixels
from reid.errors import DataError


def encode_png(pixels: Pixels | npt.NDArray[np.uint16]) -> bytes:
    """(H, W) or (H, W, 3) uint8, or (H, W) uint16, to PNG bytes."""
    return _save(PILImage.fromarray(pixels), "PNG", compress_level=3)


def deep_png(data: bytes) -> bytes | None:
    """A picture of one channel of 16 bits as an upright PNG of 16 bits; None for any other.

    >>> encoded = encode_png(np.full((2, 3), 2500, np.uint16))
    >>> deep_png(encoded) == encoded, deep_png(encode_png(np.zeros((2, 3), np.uint8)))
    (True, None)
    """
    image = PILImage.open(io.BytesIO(data))
    if not image.mode.startswith("I;16"):
        return None
    if image.format == "PNG" and is_upright(image):
        return data
    return encode_png(np.asarray(upright(image)).astype(np.uint16))


def encode_image(image: PILImage.Image, source: str, value_range: RangeRule = "percentile") -> bytes:
    """A Pillow image as a PNG of the pixels that `open_image` would show: upright, 8-bit, on white.

    Raises DataError naming `source` when its pixels cannot be loaded.
    """
    try:
        image.load()
        return _save(eight_bit(upright(image), value_range), "PNG", compress_level=1)
    except Exception as error:  # a file that Pillow opened is decoded only here
        raise DataError(f"{source}: truncated or corrupt image ({error}); {AGAIN}.") from None


def encode_jpeg(pixels: Pixels, quality: int = 92) -> bytes:
    """(H, W) or (H, W, 3) uint8 to JPEG bytes."""
    return _save(PILImage.fromarray(pixels), "JPEG", quality=quality)


def encode_mask(mask: npt.NDArray[np.bool_]) -> bytes:
    """(H, W) bool to a 1-bit PNG."""
    return _save(PILImage.fromarray(mask.astype(np.uint8) * 255).convert("1"), "PNG")


def thumbnail(data: bytes, source: str, longest: int) -> bytes:
    """A JPEG whose longest side is at most `longest` pixels."""
    image = open_image(data, source).convert("RGB")
    image.thumbnail((longest, longest))
    return _save(image, "JPEG", quality=85)


def _save(image: PILImage.Image, kind: str, **options: int) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()
