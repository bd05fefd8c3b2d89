"""Encoded bytes <-> pixels: decoding with limits, 8-bit normalisation, and encoding."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image as PILImage
from PIL import UnidentifiedImageError

from reid.config import ResizeFilter
from reid.errors import DataError

Pixels = npt.NDArray[np.uint8]
MAX_PIXELS = 64_000_000
_PLAIN_MODES = {"RGB", "L", "1", "P"}
_PNG = b"\x89PNG\r\n\x1a\n"
_AGAIN = "get a whole copy of it, or leave it out"
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: PILImage.Transpose.FLIP_LEFT_RIGHT,
    3: PILImage.Transpose.ROTATE_180,
    4: PILImage.Transpose.FLIP_TOP_BOTTOM,
    5: PILImage.Transpose.TRANSPOSE,
    6: PILImage.Transpose.ROTATE_270,
    7: PILImage.Transpose.TRANSVERSE,
    8: PILImage.Transpose.ROTATE_90,
}
"""EXIF orientation -> what turns the picture upright."""
_ORIENTATION_NOTES = ("exif", "Raw profile type exif", "XML:com.adobe.xmp", "xmp")
"""Where Pillow looks for it."""


def open_image(data: bytes, source: str, max_pixels: int = MAX_PIXELS) -> PILImage.Image:
    """Open and fully decode an image, upright and 8-bit ("RGB" or "L").

    The pixel count is checked before any pixel is decoded. 16-bit and float images are stretched from their
    own minimum and maximum to 0..255; transparent pixels are laid on white; an animation gives its first
    frame. Raises DataError naming `source`.
    """
    if not data:
        raise DataError(f"{source}: empty file (0 bytes); {_AGAIN}.")
    try:
        image = PILImage.open(io.BytesIO(data))
        width, height = image.size
        if width * height > max_pixels:
            raise DataError(
                f"{source}: {width}x{height} exceeds the limit of {max_pixels:,} pixels; "
                "cut the object out, or shrink it."
            )
        image.load()
        return _eight_bit(_upright(image))
    except DataError:
        raise
    except PILImage.DecompressionBombError as error:
        raise DataError(f"{source}: too many pixels ({error}); cut the object out, or shrink it.") from None
    except UnidentifiedImageError:
        raise DataError(
            f"{source}: not an image that Pillow can read{_what_else(data)}; "
            "convert it to PNG or JPEG, or leave it out."
        ) from None
    except Exception as error:  # Pillow's parsers raise whatever a broken field leads them to
        raise DataError(f"{source}: truncated or corrupt image ({error}); {_AGAIN}.") from None


def _what_else(data: bytes) -> str:
    """What bytes that are no readable picture seem to be."""
    if data[4:8] == b"ftyp":
        return f" ({data[8:12].decode('ascii', 'replace').strip()} container)"
    try:
        text = data[:512].decode("utf-8")
    except UnicodeDecodeError:
        return ""
    return " (it is text)" if text.strip() and text.replace("\n", " ").isprintable() else ""


def _orientation(image: PILImage.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # a damaged EXIF block says nothing about the pixels
        return 1


def _frames(image: PILImage.Image) -> int | None:
    try:
        return int(getattr(image, "n_frames", 1))
    except Exception:  # the first frame is whole, but what follows it is not
        return None


def _upright(image: PILImage.Image) -> PILImage.Image:
    turn = _UPRIGHT.get(_orientation(image))
    if turn is None:
        return image
    turned = image.transpose(turn)
    for name in _ORIENTATION_NOTES:  # Pillow copies them; whoever turned it by them again would spoil it
        turned.info.pop(name, None)
    return turned


def _eight_bit(image: PILImage.Image) -> PILImage.Image:
    if image.mode.startswith(("I", "F")):
        return PILImage.fromarray(_stretch(np.asarray(image)))
    if image.has_transparency_data:
        white = PILImage.new("RGBA", image.size, "white")
        return PILImage.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image.convert("L" if image.mode in {"L", "1"} else "RGB")


def decode_rgb(
    data: bytes, source: str, size: tuple[int, int] | None = None, resize: ResizeFilter = "bicubic"
) -> Pixels:
    """Decode to (H, W, 3) uint8; single-channel images are replicated.

    A picture of another `size` (height, width) is resampled with the `resize` filter, which covers every
    source pixel when it shrinks (Pillow's, so antialiased). Raises DataError naming `source`.
    """
    image = open_image(data, source).convert("RGB")
    if size is not None and image.size != (size[1], size[0]):
        image = image.resize((size[1], size[0]), PILImage.Resampling[resize.upper()])
    return np.asarray(image, dtype=np.uint8)


def is_plain(data: bytes) -> bool:
    """Whether decodable bytes can be stored as they are: 8-bit, one frame, upright, not transparent."""
    image = PILImage.open(io.BytesIO(data))
    if _png_depth(data) == 16:  # Pillow shows the upper half of 16-bit colours; other tools would see both
        return False
    return (
        image.mode in _PLAIN_MODES
        and not image.has_transparency_data
        and _orientation(image) not in _UPRIGHT
        and _frames(image) == 1
    )


def _png_depth(data: bytes) -> int | None:
    """Bits a channel that a PNG's header states; None for other formats."""
    return data[24] if data.startswith(_PNG) and len(data) > 24 else None


def is_one_bit_png(data: bytes) -> bool:
    """Whether bytes are a black-and-white PNG as `encode_mask` writes it."""
    return _png_depth(data) == 1 and is_plain(data) and PILImage.open(io.BytesIO(data)).mode == "1"


def encode_png(pixels: Pixels) -> bytes:
    """(H, W) or (H, W, 3) uint8 to PNG bytes."""
    return _save(PILImage.fromarray(pixels), "PNG", compress_level=3)


def encode_image(image: PILImage.Image, source: str) -> bytes:
    """A Pillow image as a PNG of the pixels that `open_image` would show: upright, 8-bit, on white.

    Raises DataError naming `source` when its pixels cannot be loaded.
    """
    try:
        image.load()
        return _save(_eight_bit(_upright(image)), "PNG", compress_level=1)
    except Exception as error:  # a file that Pillow opened is decoded only here
        raise DataError(f"{source}: truncated or corrupt image ({error}); {_AGAIN}.") from None


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


def _stretch(values: npt.NDArray[np.generic]) -> Pixels:
    floats = np.asarray(values, dtype=np.float32)
    finite = floats[np.isfinite(floats)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    scale = 255.0 / (high - low) if high > low else 0.0
    clipped = np.nan_to_num(floats, nan=low, posinf=high, neginf=low) - low
    stretched: Pixels = (clipped * scale).round().astype(np.uint8)
    return stretched
