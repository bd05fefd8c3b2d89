"""TIFF files made by hand: any number of bands, in planes or not, as sensors and tools write them."""

from __future__ import annotations

import struct
import zlib
from typing import Literal

import numpy as np

SHORT, LONG = 3, 4


def raw_tiff(
    bands: np.ndarray,
    planes: bool = False,
    deflate: bool = False,
    big_endian: bool = False,
    photometric: int = 2,
    extra: int | None = 0,
    compression: int | None = None,
) -> bytes:
    """A TIFF of (H, W, C) values; `extra` is what is said of the bands after the colours, None: nothing."""
    order: Literal["<", ">"] = ">" if big_endian else "<"
    height, width, count = bands.shape
    values = bands.astype(bands.dtype.newbyteorder(order))
    strips = (
        [np.ascontiguousarray(values[..., c]).tobytes() for c in range(count)]
        if planes
        else [values.tobytes()]
    )
    strips = [zlib.compress(s) for s in strips] if deflate else strips
    starts, place = [], 8
    for strip in strips:
        starts.append(place)
        place += len(strip)
    more = max(0, count - (3 if photometric == 2 else 1))
    tags: list[tuple[int, int, list[int]]] = [
        (256, LONG, [width]),
        (257, LONG, [height]),
        (258, SHORT, [bands.dtype.itemsize * 8] * count),
        (259, SHORT, [compression or (8 if deflate else 1)]),
        (262, SHORT, [photometric]),
        (273, LONG, starts),
        (277, SHORT, [count]),
        (278, LONG, [height]),
        (279, LONG, [len(strip) for strip in strips]),
        (284, SHORT, [2 if planes else 1]),
        *([(338, SHORT, [extra] * more)] if more and extra is not None else []),
        (339, SHORT, [3 if bands.dtype.kind == "f" else 1] * count),
    ]
    place += place % 2
    beyond = place + 2 + 12 * len(tags) + 4
    directory, values_after = struct.pack(order + "H", len(tags)), b""
    for tag, kind, numbers in tags:
        packed = struct.pack(f"{order}{len(numbers)}{'H' if kind == SHORT else 'I'}", *numbers)
        directory += struct.pack(order + "HHI", tag, kind, len(numbers))
        if len(packed) <= 4:
            directory += packed.ljust(4, b"\0")
        else:
            directory += struct.pack(order + "I", beyond + len(values_after))
            values_after += packed + b"\0" * (len(packed) % 2)
    head = (b"MM\0*" if big_endian else b"II*\0") + struct.pack(order + "I", place)
    body = (head + b"".join(strips)).ljust(place, b"\0")
    return body + directory + struct.pack(order + "I", 0) + values_after
