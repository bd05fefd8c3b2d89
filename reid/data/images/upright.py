"""Turning a picture upright as its EXIF orientation says."""

from __future__ import annotations

from PIL import Image as PILImage

_ORIENTATION = 0x0112
_TURNS = {
    2: PILImage.Transpose.FLIP_LEFT_RIGHT,
    3: PILImage.Transpose.ROTATE_180,
    4: PILImage.Transpose.FLIP_TOP_BOTTOM,
    5: PILImage.Transpose.TRANSPOSE,
    6: PILImage.Transpose.ROTATE_270,
    7: PILImage.Transpose.TRANSVERSE,
    8: PILImage.Transpose.ROTATE_90,
}
"""EXIF orientation -> what turns the picture upright."""
_NOTES = ("exif", "Raw profile type exif", "XML:com.adobe.xmp", "xmp")
"""Where Pillow looks for it."""


def orientation(image: PILImage.Image) -> int:
    """EXIF orientation of a picture; 1 (upright) where it says nothing."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # a damaged EXIF block says nothing about the pixels
        return 1


def is_upright(image: PILImage.Image) -> bool:
    """Whether nothing needs turning."""
    return orientation(image) not in _TURNS


def upright(image: PILImage.Image, stated: int | None = None) -> PILImage.Image:
    """The picture turned as it says, or as `stated`."""
    turn = _TURNS.get(orientation(image) if stated is None else stated)
    if turn is None:
        return image
    turned = image.transpose(turn)
    for name in _NOTES:  # Pillow copies them; whoever turned it by them again would spoil it
        turned.info.pop(name, None)
    return turned
