"""PNGs of 16 bits, of which Pillow shows the upper eight only; grey with alpha is read whole here."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import numpy.typing as npt
from PIL import Image as PILImage

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_DEPTH, _KIND, _CRC = 24, 25, 29
_RGB, _GREY_ALPHA, _RGB_ALPHA = 2, 4, 6


def has_deep_colours(data: bytes) -> bool:
    """Whether these are the bytes of a PNG with colours of 16 bits.

    >>> has_deep_colours(b"GIF89a")
    False
    """
    return data.startswith(_SIGNATURE) and tuple(data[_DEPTH : _KIND + 1]) in ((16, _RGB), (16, _RGB_ALPHA))


def grey_and_alpha(data: bytes) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint8]] | None:
    """Grey values (H, W) uint16 and the alpha (H, W) uint8 of such a PNG; None for other files.

    Two channels of 16 bits are four of 8 bits: under a header that says so, Pillow gives all of them.
    """
    deep = data.startswith(_SIGNATURE) and data[_DEPTH : _KIND + 1] == bytes([16, _GREY_ALPHA])
    if not deep:
        return None
    header = data[12:_DEPTH] + bytes([8, _RGB_ALPHA]) + data[_KIND + 1 : _CRC]
    relabelled = data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[_CRC + 4 :]
    halves = np.asarray(PILImage.open(io.BytesIO(relabelled))).astype(np.uint16)  # (H, W, 4)
    grey: npt.NDArray[np.uint16] = (halves[..., 0] << 8 | halves[..., 1]).astype(np.uint16)
    return grey, halves[..., 2].astype(np.uint8)
