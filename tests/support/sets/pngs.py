"""PNG files made by hand: of any depth, and such as promise more than they hold."""

from __future__ import annotations

import struct
import zlib


def raw_png(side: int, depth: int, body: bytes) -> bytes:
    """A PNG of side x side RGB pixels with so many bits, of unpacked data."""
    return png(side, side, depth, 2, body)


def png(width: int, height: int, depth: int, kind: int, body: bytes) -> bytes:
    """A PNG of any size, depth and kind of pixels (2: RGB, 4: grey and alpha), of unpacked data."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    end = chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + end


def bomb(side: int) -> bytes:
    """A PNG whose header promises side x side pixels and whose data are not there at all."""
    return raw_png(side, 8, b"")
