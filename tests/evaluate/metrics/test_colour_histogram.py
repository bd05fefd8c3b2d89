"""Colour histograms as features."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from reid.errors import DataError
from reid.evaluate.metrics.colour_histogram import colour_histogram, colour_histograms


def painted(*colours: tuple[int, int, int]) -> np.ndarray:
    """An image with one pixel of each colour."""
    return np.array([colours], dtype=np.uint8)


def test_pixels_are_counted_in_joint_bins_of_32_levels() -> None:
    vector = colour_histogram(painted((0, 0, 0), (31, 31, 31), (32, 0, 0), (255, 255, 255)))
    assert vector.shape == (512,)
    assert vector.dtype == torch.float32
    filled = {i: float(v) for i, v in enumerate(vector) if v}
    assert filled == pytest.approx({0: 0.5**0.5, 64: 0.5, 511: 0.5})


def test_vectors_have_unit_norm_whatever_the_size() -> None:
    noise = np.random.default_rng(0)
    images = [noise.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in ((1, 1), (9, 4), (30, 50))]
    vectors = colour_histograms(images)
    assert vectors.shape == (3, 512)
    assert vectors.norm(dim=1).tolist() == pytest.approx([1.0] * 3)


def test_cosine_is_the_overlap_of_the_colours_and_ignores_places() -> None:
    red, blue, mixed = painted((255, 0, 0)), painted((0, 0, 255)), painted((0, 0, 255), (255, 0, 0))
    a, b, c, d = colour_histograms([red, blue, mixed, mixed[:, ::-1]])
    assert float(a @ b) == 0.0
    assert float(a @ c) == pytest.approx(0.5**0.5)
    assert float(c @ d) == pytest.approx(1.0)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_anything_but_rgb_bytes_is_refused(wrong: np.ndarray) -> None:
    with pytest.raises(DataError, match="uint8 pixels"):
        colour_histogram(wrong)


def test_no_images_give_no_rows() -> None:
    assert colour_histograms([]).shape == (0, 512)
