"""Colour histograms as features: a ranking without learning, to orient a model's numbers."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from reid.data.images import Pixels
from reid.errors import DataError

BITS = 3
"""8 bins a channel."""
DIM = 1 << 3 * BITS


def colour_histogram(image: Pixels) -> Tensor:
    """(H, W, 3) uint8 to the root of its joint 8x8x8 RGB histogram: (512,) float32 of unit norm.

    The cosine of two such vectors is the Bhattacharyya coefficient of the histograms, in [0, 1].
    Raises DataError for another shape or type, or an empty image.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise DataError(f"Expected (H, W, 3) uint8 pixels, got {image.shape} {image.dtype}.")
    red, green, blue = (image.reshape(-1, 3) >> (8 - BITS)).astype(np.int64).T
    counts = np.bincount((red << 2 * BITS) | (green << BITS) | blue, minlength=DIM)
    return torch.from_numpy(np.sqrt(counts / counts.sum()).astype(np.float32))


def colour_histograms(images: Iterable[Pixels]) -> Tensor:
    """(N, 512) float32 of N images, which may differ in size; errors as of colour_histogram."""
    rows = [colour_histogram(image) for image in images]
    return torch.stack(rows) if rows else torch.zeros(0, DIM)
