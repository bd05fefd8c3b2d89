"""The pictures of a capture that a captioner gets: each modality alone, and all of them side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image as PILImage

from reid.data.images import Pixels
from reid.modality import CAMERA, Modality

GUTTER = 8
ALL = "ALL"


def views(images: Mapping[Modality, Pixels]) -> dict[str, Pixels]:
    """Each photo (RGB, NI, TI …), and ALL where there are several (STMI, arXiv 2603.00695)."""
    there = [m for m in CAMERA if m in images]
    found = {m.entry.caption_view: images[m] for m in there}
    if len(there) > 1:
        found[ALL] = composite([images[m] for m in there])
    return found


def composite(pictures: Sequence[Pixels], gutter: int = GUTTER) -> Pixels:
    """(H, W, 3) pictures side by side, as high as the first, white gutters between them."""
    height = pictures[0].shape[0]
    strips: list[Pixels] = []
    for picture in pictures:
        if strips:
            strips.append(np.full((height, gutter, 3), 255, np.uint8))
        width = max(1, round(picture.shape[1] * height / picture.shape[0]))
        image = PILImage.fromarray(picture)
        if image.size != (width, height):
            image = image.resize((width, height), PILImage.Resampling.BICUBIC)
        strips.append(np.asarray(image, dtype=np.uint8))
    return np.concatenate(strips, axis=1)
