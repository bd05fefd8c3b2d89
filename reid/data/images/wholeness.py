"""JPEGs of which a part is lost though they decode: cut and closed again, or with a hole inside.

libjpeg fills what is missing with grey or shifts it, and only warns; Pillow drops the warning. So a JPEG is
decoded once more, at an eighth of its size, by a binding that reports it. Zeros that a lost block was filled
with can make up as many blocks as were lost, without a warning: they are looked for by themselves.
"""

from __future__ import annotations

import re

from reid.data.images.decoding import AGAIN
from reid.errors import DataError

_JPEG = b"\xff\xd8\xff"
_DAMAGE = ("Corrupt JPEG data", "Premature end of JPEG file")
"""How libjpeg's warnings about lost data begin; others are about odd headers."""
_STRAY = re.compile(r"(\d+) extraneous bytes")
_HARMLESS = 4
"""Up to so many bytes too many between segments are what some cameras write."""
_ZEROS = bytes(32)
"""So many zero bytes are more than one block of 63 coefficients, unless zero bits mean "nothing more"."""
_START_OF_SCAN, _TABLES = 0xDA, 0xC4
_END = b"\xff\xd9"
_SEQUENTIAL = (0xC0, 0xC1)


def check_whole(data: bytes, source: str) -> None:
    """Raise DataError naming `source` when a JPEG lost a part of its picture; says nothing of other formats.

    >>> check_whole(b"GIF89a", "a.gif")
    """
    if not data.startswith(_JPEG):
        return
    if _zero_filled(data):
        raise DataError(f"{source}: a part of the JPEG is lost (it is filled with zeros); {AGAIN}.")
    import simplejpeg

    try:
        simplejpeg.decode_jpeg(data, colorspace="GRAY", fastdct=True, fastupsample=True, min_factor=8)
    except ValueError as warning:
        why = str(warning)
        stray = _STRAY.search(why)
        if why.startswith(_DAMAGE) and not (stray and int(stray[1]) <= _HARMLESS):
            raise DataError(
                f"{source}: a part of the JPEG is lost ({why.removeprefix('Corrupt JPEG data: ')}); {AGAIN}."
            ) from None


def _zero_filled(data: bytes) -> bool:
    """Whether the coded pixels hold a run of zeros that no encoder writes with these Huffman tables.

    Zero bits stand for the first symbol of a table. A flat area is a run of them where this symbol ends a
    block (0); everywhere else the run would say that all coefficients are alike.
    """
    if _ZEROS not in data:
        return False
    first_symbol: dict[int, int] = {}
    sequential, place = False, 2
    while place + 4 <= len(data) and data[place] == 0xFF:
        marker, length = data[place + 1], int.from_bytes(data[place + 2 : place + 4], "big")
        body = data[place + 4 : place + 2 + length]
        sequential |= marker in _SEQUENTIAL
        if marker == _TABLES:
            while len(body) > 17:
                first_symbol[body[0]] = body[17]
                body = body[17 + sum(body[1:17]) :]
        elif marker == _START_OF_SCAN:
            whole = sequential and len(body) > 2 and body[0] in (1, 3, 4)
            ends = first_symbol.get(0x10 | body[2] & 0x0F, 0) if whole else 0
            start = place + 2 + length
            return ends != 0 and data.find(_ZEROS, start, data.find(_END, start)) >= 0
        place += 2 + length
    return False
