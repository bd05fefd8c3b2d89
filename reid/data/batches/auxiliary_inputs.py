"""Auxiliary inputs of a row besides its modalities, for the models that use them: a caption and a mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from PIL import Image as PILImage
from torch import Tensor

from reid.data.batches.batch_row import BatchRow, RowPart
from reid.data.batches.tokens import tokenize
from reid.data.batches.transforms import Geometry, apply_geometry
from reid.data.images import Pixels, open_image
from reid.data.shards.schema import Sample

CAPTION, MASK = "caption", "mask"
"""Names as in `reid.models.base.Auxiliary`."""


def attach_auxiliary(row: BatchRow, sample: Sample, caption: int | np.random.Generator = 0) -> BatchRow:
    """Add a sample's mask and one of its captions to a row: the caption of this index, or a random one.

    A row of several samples uses those of its anchor. What the sample lacks is not added. Drawing the caption
    does not advance the given generator, so rows are the same with and without auxiliary inputs.
    """
    text: RowPart | None = None
    if sample.captions:
        count, labels = len(sample.captions), sample.labels
        chosen = caption if isinstance(caption, int) else 0
        if count > 1 and isinstance(caption, np.random.Generator):
            chosen = int(caption.spawn(1)[0].integers(count))
        text = RowPart(sample.captions[chosen].text, labels.sample_id, labels.camid, labels.viewid)
    return replace(row, caption=text, mask=None if sample.mask is None else sample.mask.image)


def captions_of(rows: Sequence[BatchRow], context: int) -> tuple[Tensor, Tensor]:
    """Token ids (B, context) int64, and (B,) bool who has a caption; an empty sentence does not count."""
    texts = ["" if row.caption is None else str(row.caption.content).strip() for row in rows]
    has = torch.tensor([bool(text) for text in texts], dtype=torch.bool)
    tokens = torch.zeros(len(rows), context, dtype=torch.int64)
    if has.any():
        tokens[has] = tokenize([text for text in texts if text], context)
    return tokens, has


def masks_of(
    rows: Sequence[BatchRow], size: tuple[int, int], shared: Sequence[Geometry] | None
) -> tuple[Tensor, Tensor]:
    """Masks (B, 1, H, W) float32 {0, 1} with the same geometry as the rows' images, and (B,) bool who has
    one.

    Raises DataError for a mask that cannot be decoded; the message names the row's first part.
    """
    found = torch.zeros(len(rows), 1, *size)
    has = torch.zeros(len(rows), dtype=torch.bool)
    for place, row in enumerate(rows):
        if row.mask is None:
            continue
        name = next((part.source for part in row.parts.values()), f"row {place}")
        pixels = decode_mask(row.mask, f"mask of {name}", size)
        if shared is not None:
            pixels = apply_geometry(pixels, shared[place])
        found[place, 0] = torch.from_numpy(np.ascontiguousarray(pixels))
        has[place] = True
    return found, has


def decode_mask(data: bytes, source: str, size: tuple[int, int]) -> Pixels:
    """(H, W) uint8 {0, 1} of a mask of any size, resampled by nearest; brighter than half is the object."""
    image = open_image(data, source).convert("L")
    if image.size != (size[1], size[0]):
        image = image.resize((size[1], size[0]), PILImage.Resampling.NEAREST)
    pixels: Pixels = (np.asarray(image) > 127).astype(np.uint8)
    return pixels
