"""Structural similarity."""

from __future__ import annotations

import pytest
import torch

from reid.nn.losses.ssim import ssim


def test_equal_pictures_are_one_and_opposite_ones_are_negative() -> None:
    x = torch.rand(2, 3, 24, 16)
    assert float(ssim(x, x)) == pytest.approx(1)
    assert float(ssim(x, 1 - x)) < -0.5


def test_it_is_symmetric_and_falls_with_noise() -> None:
    x = torch.rand(1, 1, 32, 32)
    near, far = (x + s * torch.randn_like(x) for s in (0.05, 0.3))
    assert float(ssim(x, near)) == pytest.approx(float(ssim(near, x)))
    assert float(ssim(x, near)) > float(ssim(x, far)) + 0.1


def test_flat_pictures_differ_by_their_brightness_alone() -> None:
    """By hand: (2ab + C1) / (a² + b² + C1), C1 = 0.01²."""
    a, b = torch.full((1, 1, 16, 16), 0.2), torch.full((1, 1, 16, 16), 0.6)
    assert float(ssim(a, b)) == pytest.approx((2 * 0.2 * 0.6 + 1e-4) / (0.04 + 0.36 + 1e-4), abs=1e-4)


def test_a_picture_smaller_than_the_window_counts_too() -> None:
    x = torch.rand(1, 1, 6, 4)
    assert float(ssim(x, x)) == pytest.approx(1)
