"""Encoded bytes -> upright pixels of 8 bits, with limits, and what should be told of the picture."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image as PILImage
from PIL import ImageChops, UnidentifiedImageError

from reid.config import RangeRule, ResizeFilter
from reid.data.images import tiff
from reid.data.images.deep_png import grey_and_alpha, has_deep_colours
from reid.data.images.foreign import foreign_name
from reid.data.images.notes import BAND, DIM, FIRST, PictureNote
from reid.data.images.transparency import on_white
from reid.data.images.upright import orientation, upright
from reid.data.images.value_range import Pixels, eight_bits
from reid.errors import DataError

MAX_PIXELS = 64_000_000
_DIM_BELOW = 64
AGAIN = "get a whole copy of it, or leave it out"


@dataclass(frozen=True)
class DecodedPicture:
    """A picture of 8 bits, upright, "RGB" or "L"; what should be told of it; its fourth band if asked for."""

    image: PILImage.Image
    notes: tuple[PictureNote, ...] = ()
    fourth: PILImage.Image | None = None


def open_image(
    data: bytes, source: str, max_pixels: int = MAX_PIXELS, value_range: RangeRule = "percentile"
) -> PILImage.Image:
    """As `read_picture`, but only the picture."""
    return read_picture(data, source, max_pixels, value_range).image


def read_picture(
    data: bytes,
    source: str,
    max_pixels: int = MAX_PIXELS,
    value_range: RangeRule = "percentile",
    fourth_band: bool = False,
) -> DecodedPicture:
    """Open and fully decode an image, upright and 8-bit ("RGB" or "L").

    The pixel count is checked before any pixel is decoded. Pictures of one channel with more than 8 bits are
    scaled by `value_range` (see `reid.data.images.value_range`), deeper colours keep their upper 8 bits;
    transparent pixels are laid on white, unless that would hide the whole picture; an animation gives its
    first frame. A TIFF's band after three colours is left out, with a note, or decoded too if `fourth_band`.

    Raises DataError naming `source`.
    """
    if not data:
        raise DataError(f"{source}: empty file (0 bytes); {AGAIN}.")
    layout = None
    try:
        layout = tiff.tiff_layout(data)
        if layout is not None:
            _check_size(layout.size, source, max_pixels)
            if layout.strange:
                raise DataError(
                    f"{source}: a TIFF of {layout.strange}; write it as 8-bit RGB, or leave it out."
                )
            if layout.in_planes or layout.fourth or (fourth_band and layout.fourth_or_alpha):
                return _banded(data, layout, fourth_band)
        image: PILImage.Image = PILImage.open(io.BytesIO(data))
        _check_size(image.size, source, max_pixels)
        image.load()
        notes = _first_of(image)
        if (deep := grey_and_alpha(data)) is not None:
            grey, more = eight_bits(deep[0], value_range)
            turn = orientation(image)
            image = PILImage.merge("LA", [PILImage.fromarray(grey), PILImage.fromarray(deep[1])])
            image, notes = upright(image, turn), (*notes, *more)
        shown, more = _eight_bit(upright(image), value_range)
        if layout is not None and layout.white_is_zero and image.mode.startswith(("I", "F")):
            shown = ImageChops.invert(shown)  # of 8 bits, Pillow has done it
        return DecodedPicture(shown, (*notes, *more, *_dim(shown, data, layout)))
    except DataError:
        raise
    except PILImage.DecompressionBombError as error:
        raise DataError(f"{source}: too many pixels ({error}); cut the object out, or shrink it.") from None
    except UnidentifiedImageError:
        name = f"a TIFF, {tiff.compression(layout)}" if layout else foreign_name(data)
        what = f" (it is {name})" if name else ""
        raise DataError(
            f"{source}: not an image that Pillow can read{what}; convert it to PNG or JPEG, or leave it out."
        ) from None
    except Exception as error:  # Pillow's parsers raise whatever a broken field leads them to
        how = f"; TIFF, {tiff.compression(layout)}" if layout else ""
        raise DataError(f"{source}: truncated or corrupt image ({error}{how}); {AGAIN}.") from None


def decode_rgb(
    data: bytes,
    source: str,
    size: tuple[int, int] | None = None,
    resize: ResizeFilter = "bicubic",
    value_range: RangeRule = "percentile",
) -> Pixels:
    """Decode to (H, W, 3) uint8; single-channel images are replicated, those of more than 8 bits scaled.

    A picture of another `size` (height, width) is resampled with the `resize` filter, which covers every
    source pixel when it shrinks (Pillow's, so antialiased). Raises DataError naming `source`.
    """
    image = open_image(data, source, value_range=value_range).convert("RGB")
    if size is not None and image.size != (size[1], size[0]):
        image = image.resize((size[1], size[0]), PILImage.Resampling[resize.upper()])
    return np.asarray(image, dtype=np.uint8)


def eight_bit(image: PILImage.Image, value_range: RangeRule) -> PILImage.Image:
    """A loaded image of any mode as 8 bits ("RGB" or "L"), on white."""
    return _eight_bit(image, value_range)[0]


def _eight_bit(
    image: PILImage.Image, value_range: RangeRule
) -> tuple[PILImage.Image, tuple[PictureNote, ...]]:
    if image.mode.startswith(("I", "F")):
        grey, notes = eight_bits(np.asarray(image), value_range)
        return PILImage.fromarray(grey), notes
    if image.has_transparency_data:
        return on_white(image)
    return image.convert("L" if image.mode in {"L", "1"} else "RGB"), ()


def _first_of(image: PILImage.Image) -> tuple[PictureNote, ...]:
    """That others follow the first picture of a file; photos of phones hold previews, which nobody misses."""
    if image.format == "MPO" or not getattr(image, "is_animated", False):
        return ()
    return (PictureNote(FIRST, f"it holds {getattr(image, 'n_frames', 2)} pictures; the first one is taken"),)


def _check_size(size: tuple[int, int], source: str, max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise DataError(
            f"{source}: {width}x{height} exceeds the limit of {max_pixels:,} pixels; "
            "cut the object out, or shrink it."
        )


def _banded(data: bytes, layout: tiff.TiffLayout, wanted: bool) -> DecodedPicture:
    """The colours of a TIFF whose bands Pillow does not tell apart, and the band after them."""
    opened = None if layout.in_planes else PILImage.open(io.BytesIO(data))
    turn = int(layout.tags.get(0x0112, 1)) if opened is None else orientation(opened)
    colours = tiff.colours(data, layout) if opened is None else _colours_of(opened)
    fourth = tiff.fourth_band(data, layout) if wanted and layout.fourth_or_alpha else None
    notes: tuple[PictureNote, ...] = ()
    if layout.fourth and fourth is None:
        more = "a fourth band" if layout.samples == 4 else f"{layout.samples - 3} bands after the third"
        notes = (PictureNote(BAND, f"{more} beside its colours, left out"),)
    notes += _dim(colours, data, layout)
    return DecodedPicture(upright(colours, turn), notes, None if fourth is None else upright(fourth, turn))


def _dim(shown: PILImage.Image, data: bytes, layout: tiff.TiffLayout | None) -> tuple[PictureNote, ...]:
    """That 16-bit colours hardly show in their upper 8 bits: a camera of 12 bits may fill the lower ones."""
    if not (layout.deep_colours if layout else has_deep_colours(data)):
        return ()
    most = int(np.asarray(shown).max(initial=0))
    text = f"the largest of its 16-bit colours is {most} of 255 in 8 bits, which is nearly black"
    return (PictureNote(DIM, text),) if most < _DIM_BELOW else ()


def _colours_of(opened: PILImage.Image) -> PILImage.Image:
    """The colours alone: where nobody said what the fourth band is, Pillow takes it for alpha."""
    return PILImage.merge("RGB", opened.convert("RGBA" if opened.mode == "RGBA" else "RGB").split()[:3])
