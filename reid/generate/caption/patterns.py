"""Plain, striped or patterned: the pattern of a region, by its chroma variance and its stripes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from reid.generate.colours import Floats
from reid.generate.filters import blur

PLAIN, ACROSS, DOWN, PATTERNED = "plain", "horizontal stripes", "vertical stripes", "patterned"
_SHORTEST = 10  # rows or columns: fewer hold no two periods of a stripe that can be seen
_STRIPED = 0.20
"""How much of the variance must repeat itself for stripes."""
_FAINT = 4.0  # Lab units: stripes weaker than this are folds and noise
_VARIED = 14.0
"""Lab units of chroma deviation from which a region is patterned."""


def pattern_of(lab: Floats, inside: npt.NDArray[np.bool_]) -> tuple[str, float]:
    """(H, W, 3) Lab and the region (H, W) -> its pattern and a confidence in [0, 1].

    0 on the border between two answers, and for a region too small to tell.
    """
    if int(inside.sum()) < 2 * _SHORTEST:
        return PLAIN, 0.0
    points = lab[inside]
    total = float(points.var(axis=0).sum())
    across, down = _stripes(lab, inside, total), _stripes(lab.swapaxes(0, 1), inside.T, total)
    if max(across, down) > _STRIPED:
        strongest, name = max((across, ACROSS), (down, DOWN))
        return name, min(1.0, strongest / _STRIPED - 1)
    varied = _variation(points)
    if varied > _VARIED:
        return PATTERNED, min(1.0, varied / _VARIED - 1)
    return PLAIN, 1 - max(varied / _VARIED, max(across, down, 0.0) / _STRIPED)


def _variation(points: Floats) -> float:
    """Deviation of the chroma, and a little of the lightness, without the tenth farthest from the middle."""
    off = points - np.median(points, axis=0)
    squares = off[:, 1] ** 2 + off[:, 2] ** 2 + (off[:, 0] / 4) ** 2  # light and shade move L alone
    kept = np.sort(squares)[: max(1, len(squares) * 9 // 10)]
    return float(np.sqrt(kept.mean(dtype=np.float64)))


def _stripes(lab: Floats, inside: npt.NDArray[np.bool_], total: float) -> float:
    """How much of the region's variance is stripes along the second axis, by autocorrelation. In [-1, 1].

    The mean colour of each row, without its slow change, is compared with itself some rows on. Stripes
    answer again after their period, once they have been their own opposite.
    """
    counts = inside.sum(axis=1)
    rows = np.flatnonzero(counts >= max(2, counts.max() // 3))
    if len(rows) < _SHORTEST or total <= 0:
        return 0.0
    profile = (lab[rows] * inside[rows, :, None]).sum(axis=1) / counts[rows, None]  # (n, 3)
    size = len(rows)
    profile = profile - blur(profile.T[:, :, None].astype(np.float32), size / 6, across=False)[:, :, 0].T
    energy = float((profile**2).sum(axis=-1).mean())
    if energy < _FAINT**2:
        return 0.0
    spectrum = np.abs(np.fft.rfft(profile, 2 * size, axis=0)) ** 2  # padded: rows do not wrap around
    lags = np.fft.irfft(spectrum.sum(axis=1))[: size // 2 + 1] / (size - np.arange(size // 2 + 1))
    below = np.flatnonzero(lags < 0)
    if not len(below):
        return 0.0
    again = float(lags[below[0] :].max())
    return min(1.0, energy / total) * again / energy
