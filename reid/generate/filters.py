"""Image filters that generators share: luma, Gaussian blur, and conversion to pixels. numpy only.

All work on stacks (..., H, W) and give each picture the same bits as alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from reid.data.images import Pixels

Plane = npt.NDArray[np.floating[Any]]
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def luma(pixels: Pixels) -> Plane:
    """(..., H, W, 3) uint8 -> (..., H, W) brightness in [0, 1]."""
    plane: Plane = pixels.astype(np.float32) @ (LUMA / 255)
    return plane


def blur(planes: Plane, sigma: float, across: bool = True) -> Plane:
    """Gaussian blur of (..., H, W) planes of any size; the border pixel goes on for ever.

    Without `across` it runs down the columns only.
    """
    radius = max(1, int(3 * sigma + 0.5))
    taps = np.exp(-0.5 * (np.arange(radius + 1, dtype=np.float32) / sigma) ** 2)
    taps /= taps[0] + 2 * taps[1:].sum()
    height, width = planes.shape[-2:]
    stack = planes.reshape(-1, height, width)
    stack = _down(stack, taps)
    return (_across(stack, taps) if across else stack).reshape(planes.shape)


def to_pixels(plane: Plane) -> Pixels:
    """[0, 1] floats, clipped, to uint8."""
    return (np.clip(plane, 0, 1) * 255).round().astype(np.uint8)


def _down(stack: Plane, taps: Plane) -> Plane:
    """Along the columns of (B, H, W)."""
    radius, (count, height, width) = len(taps) - 1, stack.shape
    padded = np.empty((count, height + 2 * radius, width), stack.dtype)  # np.pad costs as much as the sums
    padded[:, radius : radius + height] = stack
    padded[:, :radius] = stack[:, :1]
    padded[:, radius + height :] = stack[:, -1:]
    total: Plane = taps[0] * padded[:, radius : radius + height]
    pair = np.empty_like(total)
    for k in range(1, radius + 1):  # the kernel is symmetric: one product for two taps
        upper, lower = radius - k, radius + k
        np.add(padded[:, upper : upper + height], padded[:, lower : lower + height], out=pair)
        pair *= taps[k]
        total += pair
    return total


def _across(stack: Plane, taps: Plane) -> Plane:
    """Along the rows of (B, H, W): over the padded rows laid end to end, so that every sum is contiguous."""
    radius, (count, height, width) = len(taps) - 1, stack.shape
    padded = np.empty((count, height, width + 2 * radius), stack.dtype)
    padded[..., radius : radius + width] = stack
    padded[..., :radius] = stack[..., :1]
    padded[..., radius + width :] = stack[..., -1:]
    line = padded.reshape(-1)
    size = line.size - 2 * radius
    total = np.empty_like(line)
    inner = total[radius : radius + size]
    np.multiply(line[radius : radius + size], taps[0], out=inner)
    pair = np.empty_like(inner)
    for k in range(1, radius + 1):
        np.add(line[radius - k : radius - k + size], line[radius + k : radius + k + size], out=pair)
        pair *= taps[k]
        inner += pair
    return np.ascontiguousarray(total.reshape(padded.shape)[..., radius : radius + width])
