"""Which encoded pictures can be stored as they are, because every tool sees the same 8 bits in them."""

from __future__ import annotations

import io

from PIL import Image as PILImage
from PIL.ImageFile import ImageFile

from reid.data.images.tiff import tiff_layout
from reid.data.images.upright import is_upright

_PLAIN_MODES = {"RGB", "L", "1", "P"}
_PNG = b"\x89PNG\r\n\x1a\n"
_JP2_SIZE = b"\xff\x4f\xff\x51"
_JP2_DEPTH = 42
"""Bytes from the start of a JPEG 2000 codestream to the depth of its first channel."""
_AV1 = b"av1C"
_AV1_DEEP = 0x40


def is_plain(data: bytes) -> bool:
    """Whether decodable bytes can be stored as they are: 8-bit, one frame, upright, not transparent.

    Pillow shows the upper half of deeper colours; other tools would see both, so those are not plain.
    """
    layout = tiff_layout(data)
    if layout is not None and (max(layout.bits) > 8 or layout.samples not in (1, 3)):
        return False  # Pillow may not even open it
    image = PILImage.open(io.BytesIO(data))
    return (
        image.mode in _PLAIN_MODES
        and not _is_deep(data, image)
        and not image.has_transparency_data
        and is_upright(image)
        and _frames(image) == 1
    )


def is_one_bit_png(data: bytes) -> bool:
    """Whether bytes are a black-and-white PNG as `encode_mask` writes it."""
    return _png_depth(data) == 1 and is_plain(data) and PILImage.open(io.BytesIO(data)).mode == "1"


def _is_deep(data: bytes, image: ImageFile) -> bool:
    """Whether the file has more than 8 bits a channel."""
    kind = image.format
    if kind == "PNG":
        return _png_depth(data) == 16
    if kind == "PPM":
        return b"65535" in data[:64] or image.tile[0].codec_name != "raw"
    if kind == "JPEG2000":
        start = data.find(_JP2_SIZE)
        return start < 0 or data[start + _JP2_DEPTH] & 0x7F > 7
    if kind == "AVIF":
        start = data.find(_AV1)
        return start < 0 or bool(data[start + 6] & _AV1_DEEP)
    return False


def _png_depth(data: bytes) -> int | None:
    """Bits a channel that a PNG's header states; None for other formats."""
    return data[24] if data.startswith(_PNG) and len(data) > 24 else None


def _frames(image: PILImage.Image) -> int | None:
    try:
        return int(getattr(image, "n_frames", 1))
    except Exception:  # the first frame is whole, but what follows it is not
        return None
