"""Image filters that generators share: luma, Gaussian blur, and back to pixels. numpy only."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from reid.data.images import Pixels

Plane = npt.NDArray[np.floating[Any]]
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def luma(pixels: Pixels) -> Plane:
    """(H, W, 3) uint8 -> (H, W) brightness in [0, 1]."""
    plane: Plane = pixels.astype(np.float32) @ (LUMA / 255)
    return plane


def blur(plane: Plane, sigma: float) -> Plane:
    """Gaussian blur of a (H, W) plane of any size; the border pixel goes on for ever."""
    radius = max(1, int(3 * sigma + 0.5))
    taps = np.exp(-0.5 * (np.arange(radius + 1, dtype=np.float32) / sigma) ** 2)
    taps /= taps[0] + 2 * taps[1:].sum()
    for axis in (0, 1):
        size = plane.shape[axis]
        pad = [(0, 0), (0, 0)]
        pad[axis] = (radius, radius)
        padded = np.moveaxis(np.pad(plane, pad, mode="edge"), axis, 0)
        total = taps[0] * padded[radius : radius + size]
        for k in range(1, radius + 1):  # the kernel is symmetric: one product for two taps
            total += taps[k] * (
                padded[radius - k : radius - k + size] + padded[radius + k : radius + k + size]
            )
        plane = np.moveaxis(total, 0, axis)
    return np.ascontiguousarray(plane)


def to_pixels(plane: Plane) -> Pixels:
    """[0, 1] floats, clipped, to uint8."""
    return (np.clip(plane, 0, 1) * 255).round().astype(np.uint8)
