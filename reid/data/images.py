"""Encoded bytes <-> pixels: decoding with limits, 8-bit normalisation, and encoding."""

from __future__ import annotations

import io
import warnings

import numpy as np
import numpy.typing as npt
from PIL import Image as PILImage
from PIL import ImageOps, UnidentifiedImageError

from reid.errors import DataError

Pixels = npt.NDArray[np.uint8]
MAX_PIXELS = 64_000_000
_PLAIN_MODES = {"RGB", "L", "1", "P"}


def open_image(data: bytes, source: str, max_pixels: int = MAX_PIXELS) -> PILImage.Image:
    """Open and fully decode an image, upright and 8-bit ("RGB" or "L").

    The pixel count is checked before any pixel is decoded. 16-bit and float images are stretched from their
    own minimum and maximum to 0..255; an animation gives its first frame. Raises DataError naming `source`.
    """
    if not data:
        raise DataError(f"{source}: empty file (0 bytes).")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PILImage.DecompressionBombWarning)
            image = PILImage.open(io.BytesIO(data))
            width, height = image.size
            if width * height > max_pixels:
                raise DataError(f"{source}: {width}x{height} exceeds the limit of {max_pixels:,} pixels.")
            image.load()
    except DataError:
        raise
    except PILImage.DecompressionBombError as error:
        raise DataError(f"{source}: too many pixels ({error}).") from None
    except UnidentifiedImageError:
        raise DataError(f"{source}: not an image that Pillow can read.") from None
    except (OSError, ValueError, SyntaxError) as error:
        raise DataError(f"{source}: truncated or corrupt image ({error}).") from None
    upright = ImageOps.exif_transpose(image)
    if upright.mode in {"L", "1"}:
        return upright.convert("L")
    if upright.mode.startswith(("I", "F")):
        return PILImage.fromarray(_stretch(np.asarray(upright)))
    return upright.convert("RGB")


def decode_rgb(data: bytes, source: str, size: tuple[int, int] | None = None) -> Pixels:
    """Decode to (H, W, 3) uint8; single-channel images are replicated. `size` is (height, width)."""
    image = open_image(data, source).convert("RGB")
    if size is not None and image.size != (size[1], size[0]):
        image = image.resize((size[1], size[0]), PILImage.Resampling.BICUBIC)
    return np.asarray(image, dtype=np.uint8)


def is_plain(data: bytes) -> bool:
    """Whether the bytes can be stored as they are: 8-bit, one frame, no EXIF rotation."""
    image = PILImage.open(io.BytesIO(data))
    rotated = image.getexif().get(0x0112, 1) != 1
    return image.mode in _PLAIN_MODES and not rotated and getattr(image, "n_frames", 1) == 1


def encode_png(pixels: Pixels) -> bytes:
    """(H, W) or (H, W, 3) uint8 to PNG bytes."""
    return _save(PILImage.fromarray(pixels), "PNG", compress_level=3)


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
    low, high = float(np.nanmin(floats)), float(np.nanmax(floats))
    scale = 255.0 / (high - low) if high > low else 0.0
    stretched: Pixels = np.nan_to_num((floats - low) * scale).round().astype(np.uint8)
    return stretched
