"""TIFFs that Pillow shows wrongly or not at all: colours of 16 bits in planes, and more bands than colours.

A plane, and a band beside the colours, is given to Pillow as a picture of its own: the same bytes under
another directory of tags, so that every compression of Pillow's serves here, too.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image as PILImage
from PIL import TiffImagePlugin
from PIL.TiffImagePlugin import ImageFileDirectory_v2

_MAGIC = (b"II*\0", b"MM\0*")
_BIG = (b"II+\0", b"MM\0+")
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_STRIP_OFFSETS, _SAMPLES, _STRIP_BYTES, _PLANAR = 273, 277, 279, 284
_TILE_OFFSETS, _TILE_BYTES, _EXTRA, _FORMAT = 324, 325, 338, 339
_KEPT = (_WIDTH, _HEIGHT, _COMPRESSION, 266, 278, 317, 322, 323)
"""What describes one plane as it describes all: sizes, compression, fill order, rows, predictor, tiles."""
_PER_PLANE = (_STRIP_OFFSETS, _STRIP_BYTES, _TILE_OFFSETS, _TILE_BYTES)
_WHITE_IS_ZERO, _RGB = 0, 2
_SHORT, _LONG = 3, 4
_ALPHA = 2


@dataclass(frozen=True)
class TiffLayout:
    """How the bands of a TIFF's first picture lie in the file."""

    tags: ImageFileDirectory_v2
    big: bool
    bits: tuple[int, ...]
    samples: int
    planar: bool
    photometric: int
    extra: tuple[int, ...]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return int(self.tags[_WIDTH]), int(self.tags[_HEIGHT])

    @property
    def white_is_zero(self) -> bool:
        """Whether the smallest value is white, as some thermal cameras write grey."""
        return self.photometric == _WHITE_IS_ZERO

    @property
    def fourth(self) -> bool:
        """Whether there is a band besides three colours that is not said to be alpha."""
        return self.photometric == _RGB and self.samples > 3 and self.extra[:1] not in ((1,), (2,))

    @property
    def fourth_or_alpha(self) -> bool:
        """Whether there is a band besides three colours, whatever it is said to be."""
        return self.photometric == _RGB and self.samples > 3

    @property
    def deep_colours(self) -> bool:
        """Whether there are colours of 16 bits."""
        return self.photometric == _RGB and self.bits[0] == 16

    @property
    def in_planes(self) -> bool:
        """Whether the bands lie one after the other in a way that Pillow does not read rightly."""
        odd = self.samples > 3 or self.bits[0] != 8
        return self.planar and self.photometric == _RGB and self.samples > 2 and odd

    @property
    def strange(self) -> str:
        """Why these bands cannot be read; "" if they can."""
        depth = f"{self.samples} bands of {self.bits[0]} bits{' in planes' if self.planar else ''}"
        if self.photometric in (0, 1) and self.samples > 2:
            return f"{depth}, of which the file does not say which are the colours"
        if self.samples > 2 and self.bits[0] > 16:
            return depth
        return f"{depth} in a BigTIFF" if self.in_planes and self.big else ""


def tiff_layout(data: bytes) -> TiffLayout | None:
    """The layout of a TIFF's bands; None for other formats and directories that cannot be parsed."""
    if not data.startswith(_MAGIC + _BIG):
        return None
    big = data.startswith(_BIG)
    try:
        stream = io.BytesIO(data)
        tags = ImageFileDirectory_v2(stream.read(16 if big else 8))
        stream.seek(tags.next)
        tags.load(stream)
        bits = tuple(int(b) for b in tags.get(_BITS, (1,)))
        samples = int(tags.get(_SAMPLES, 1))
        return TiffLayout(
            tags=tags,
            big=big,
            bits=bits,
            samples=samples,
            planar=int(tags.get(_PLANAR, 1)) == 2,
            photometric=int(tags.get(_PHOTOMETRIC, 1)),
            extra=tuple(int(e) for e in tags.get(_EXTRA, ())),
        )
    except Exception:  # Pillow's parser raises whatever a broken directory leads it to
        return None


def compression(layout: TiffLayout) -> str:
    """The name of a TIFF's compression, for messages."""
    number = int(layout.tags.get(_COMPRESSION, 1))
    return str(TiffImagePlugin.COMPRESSION_INFO.get(number, f"compression {number}")).removeprefix("tiff_")


def colours(data: bytes, layout: TiffLayout) -> PILImage.Image:
    """The first three bands of a TIFF `in_planes` as 8-bit RGB: of 16 bits, the upper eight."""
    return PILImage.merge("RGB", [_upper_bits(_plane(data, layout, band)) for band in range(3)])


def fourth_band(data: bytes, layout: TiffLayout) -> PILImage.Image | None:
    """The band after the colours as an 8-bit picture; None where it lies among more than four."""
    if layout.planar:
        return None if layout.big else _upper_bits(_plane(data, layout, 3))
    if layout.samples != 4:
        return None
    picture = PILImage.open(io.BytesIO(_as_alpha(data, layout)))
    return picture.getchannel("A") if picture.mode == "RGBA" else None


def _upper_bits(plane: PILImage.Image) -> PILImage.Image:
    if plane.mode == "L":
        return plane
    values = np.asarray(plane)
    if values.dtype.itemsize != 2:
        raise ValueError(f"a band of {values.dtype}")
    return PILImage.fromarray((values.astype(np.uint16) >> 8).astype(np.uint8))


def _plane(data: bytes, layout: TiffLayout, band: int) -> PILImage.Image:
    """One plane as a picture of one channel."""
    entries: dict[int, Sequence[int]] = {_PHOTOMETRIC: [1], _SAMPLES: [1], _PLANAR: [1]}
    entries[_BITS] = [layout.bits[band]]
    for tag in _KEPT:
        if tag in layout.tags:
            value = layout.tags[tag]
            entries[tag] = [int(v) for v in value] if isinstance(value, tuple) else [int(value)]
    for tag in _PER_PLANE:
        if tag in layout.tags:
            values = [int(v) for v in layout.tags[tag]]
            each = len(values) // layout.samples
            entries[tag] = values[band * each : (band + 1) * each]
    if _FORMAT in layout.tags:
        entries[_FORMAT] = [int(layout.tags[_FORMAT][band])]
    picture = PILImage.open(io.BytesIO(_with_directory(data, entries)))
    picture.load()
    return picture


def _with_directory(data: bytes, entries: dict[int, Sequence[int]]) -> bytes:
    """The bytes of a TIFF under a directory of these tags, put at their end."""
    order = "<" if data[:1] == b"I" else ">"
    start = len(data) + len(data) % 2
    beyond = start + 2 + 12 * len(entries) + 4
    directory, values = struct.pack(order + "H", len(entries)), b""
    for tag, numbers in sorted(entries.items()):
        long = tag in _PER_PLANE or max(numbers) > 0xFFFF
        packed = struct.pack(f"{order}{len(numbers)}{'I' if long else 'H'}", *numbers)
        directory += struct.pack(order + "HHI", tag, _LONG if long else _SHORT, len(numbers))
        if len(packed) <= 4:
            directory += packed.ljust(4, b"\0")
        else:
            directory += struct.pack(order + "I", beyond + len(values))
            values += packed + b"\0" * (len(packed) % 2)
    directory += struct.pack(order + "I", 0)
    return data[:4] + struct.pack(order + "I", start) + data[8:].ljust(start - 8, b"\0") + directory + values


def _as_alpha(data: bytes, layout: TiffLayout) -> bytes:
    """The bytes of a TIFF of four bands whose fourth is said to be alpha, so that Pillow gives it away."""
    if layout.big or not layout.extra or layout.extra[0] == _ALPHA:
        return data  # without the tag, Pillow takes it for alpha by itself
    order = "<" if data[:1] == b"I" else ">"
    (start,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, start)
    changed = bytearray(data)
    for place in range(start + 2, start + 2 + 12 * count, 12):
        if struct.unpack_from(order + "H", data, place) == (_EXTRA,):
            struct.pack_into(order + "H", changed, place + 8, _ALPHA)
    return bytes(changed)
