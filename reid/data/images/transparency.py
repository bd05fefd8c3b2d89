"""Transparent pictures: laid on white, unless their alpha would hide everything."""

from __future__ import annotations

import numpy as np
from PIL import Image as PILImage

from reid.data.images.notes import HIDDEN, PictureNote

_SEEN = 16
"""Alpha from which a pixel is seen; masks of 0 and 1, or of a few labels, stay below."""


def on_white(image: PILImage.Image) -> tuple[PILImage.Image, tuple[PictureNote, ...]]:
    """A picture with transparency as RGB; if no pixel could be seen, the colours under its alpha, and a note.

    >>> photo = PILImage.effect_noise((8, 8), 50).convert("RGB")
    >>> photo.putalpha(PILImage.new("L", (8, 8), 1))
    >>> on_white(photo)[1][0].text
    'its alpha hides it (largest value 1 of 255); the colours under it are shown'
    """
    layers = image.convert("RGBA")
    colours = layers.convert("RGB")
    most = int(np.asarray(layers.getchannel("A")).max(initial=0))
    if most < _SEEN and np.ptp(np.asarray(colours), axis=(0, 1)).any():
        text = f"its alpha hides it (largest value {most} of 255); the colours under it are shown"
        return colours, (PictureNote(HIDDEN, text),)
    white = PILImage.new("RGBA", layers.size, "white")
    return PILImage.alpha_composite(white, layers).convert("RGB"), ()
