"""Colours by perception: CIE Lab, twelve names, and the main colours of some pixels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from reid.data.images import Pixels

Floats = npt.NDArray[np.float32]

_SRGB = np.arange(256) / 255
_LINEAR = np.where(_SRGB <= 0.04045, _SRGB / 12.92, ((_SRGB + 0.055) / 1.055) ** 2.4).astype(np.float32)
_XYZ = np.array(  # linear sRGB -> XYZ, over the white point of D65: white is (1, 1, 1)
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
_XYZ = (_XYZ / _XYZ.sum(axis=1, keepdims=True)).astype(np.float32)

SHADES: dict[str, tuple[str, ...]] = {
    "black": ("0c0c0d", "1e1e22", "2c2c2e"),
    "white": ("fafafa", "e6e6e8", "d2d2d4"),
    "gray": ("505054", "6c6c70", "88888c", "a4a4a8"),
    "red": ("c8181c", "8c1418", "e04038", "5c1014"),
    "orange": ("f27818", "e09038", "d0581c"),
    "yellow": ("f0d228", "f4e478", "c8a820"),
    "green": ("1a7a2c", "0c4018", "5ca848", "6c7438", "98c878", "2c6c5c"),
    "blue": ("1c38b0", "141c50", "4878c8", "84acdc", "44587c", "1c88b0"),
    "purple": ("6c2084", "401850", "9468b4"),
    "pink": ("f080a8", "f4b8c8", "d83c88"),
    "brown": ("5c3418", "3c2414", "885c38"),
    "beige": ("ccb488", "e4d8bc", "a89470"),
}
"""The twelve names, each by a few sRGB shades that people call so (our choice)."""
NAMES = tuple(SHADES)


def to_lab(pixels: Pixels) -> Floats:
    """(..., 3) sRGB bytes -> (..., 3) CIE Lab under D65: L in [0, 100], a and b within +-128."""
    linear = _LINEAR.take(pixels)
    red, green, blue = linear[..., 0], linear[..., 1], linear[..., 2]
    roots = []
    for row in _XYZ:  # three products and a sum: a matrix product would depend on how many pixels there are
        ratio = red * row[0] + green * row[1] + blue * row[2]
        low = ratio * np.float32(841 / 108) + np.float32(4 / 29)
        roots.append(np.where(ratio > 216 / 24389, ratio ** np.float32(1 / 3), low))
    x, y, z = roots
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1).astype(np.float32)


def name_colour(lab: Floats) -> tuple[list[str], Floats]:
    """(n, 3) Lab -> the nearest of the twelve names, and how clearly each is nearer than another name.

    The margin is 1 - (distance to the name) / (distance to the next name): 0 on the border, 1 on a shade.
    """
    gaps = np.linalg.norm(lab[:, None, :] - _SHADE_LAB[None], axis=-1)  # (n, shades)
    nearest = np.minimum.reduceat(gaps, _STARTS, axis=1)  # (n, names)
    order = np.argsort(nearest, axis=1, kind="stable")
    first = np.take_along_axis(nearest, order[:, :1], axis=1)[:, 0]
    second = np.take_along_axis(nearest, order[:, 1:2], axis=1)[:, 0]
    margin = 1 - first / np.maximum(second, 1e-6)
    return [NAMES[i] for i in order[:, 0]], margin.astype(np.float32)


def cluster(points: Floats, rng: np.random.Generator, k: int = 3, rounds: int = 8) -> tuple[Floats, Floats]:
    """k-means of G groups of points at once: (G, N, 3) -> centres (G, k, 3) and shares (G, k), largest first.

    Starts as k-means++ does: each further centre is a point drawn by its squared distance to those there
    are. A cluster that loses its points stays where it is, with a share of 0.
    """
    groups, count, _ = points.shape
    rows = np.arange(groups)
    centres: Floats = np.empty((groups, k, 3), np.float32)
    centres[:, 0] = points[rows, rng.integers(count, size=groups)]
    nearest = np.full((groups, count), np.inf, np.float32)
    for i in range(1, k):
        gap = points - centres[:, i - 1, None]
        nearest = np.minimum(nearest, (gap * gap).sum(axis=-1))
        total = np.cumsum(nearest, axis=1, dtype=np.float64)
        drawn = rng.random((groups, 1)) * total[:, -1:]
        centres[:, i] = points[rows, np.minimum((total <= drawn).sum(axis=1), count - 1)]
    members: Floats = np.zeros((groups, k, count), np.float32)
    across, which = np.ascontiguousarray(points.swapaxes(1, 2)), np.arange(k)[None, :, None]
    for _ in range(rounds):
        # |p - c|^2 without |p|^2, which is the same for every centre.
        gap = (centres * centres).sum(axis=-1)[..., None] - 2 * (centres @ across)  # (G, k, N)
        members = (gap.argmin(axis=1)[:, None] == which).astype(np.float32)
        size = members.sum(axis=-1, keepdims=True)  # (G, k, 1)
        centres = np.where(size > 0, members @ points / np.maximum(size, 1), centres)
    shares: Floats = members.mean(axis=-1, dtype=np.float32)
    order = np.argsort(-shares, axis=1, kind="stable")
    return np.take_along_axis(centres, order[..., None], axis=1), np.take_along_axis(shares, order, axis=1)


_STARTS = np.cumsum([0, *(len(shades) for shades in SHADES.values())])[:-1]
_SHADE_LAB = to_lab(
    np.array([list(bytes.fromhex(shade)) for shades in SHADES.values() for shade in shades], np.uint8)
)
