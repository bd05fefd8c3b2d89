"""Colours: Lab by reference values, twelve names, and the clusters of points."""

from __future__ import annotations

import numpy as np
import pytest

from reid.data.synthetic import PALETTE
from reid.generate.colours import NAMES, SHADES, cluster, name_colour, to_lab

# CIE Lab of sRGB colours under D65, as published widely (to two digits).
REFERENCE = {
    (255, 255, 255): (100.0, 0.0, 0.0),
    (0, 0, 0): (0.0, 0.0, 0.0),
    (255, 0, 0): (53.24, 80.09, 67.20),
    (0, 255, 0): (87.73, -86.18, 83.18),
    (0, 0, 255): (32.30, 79.19, -107.86),
    (128, 128, 128): (53.59, 0.0, 0.0),
}


def test_lab_has_the_known_values_of_the_primaries() -> None:
    pixels = np.array(list(REFERENCE), np.uint8)
    assert np.allclose(to_lab(pixels), np.array(list(REFERENCE.values())), atol=0.05)


def test_a_pixels_lab_does_not_depend_on_its_neighbours() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.uint8)
    whole = to_lab(pixels)
    assert whole.shape == (5, 7, 3)
    alone = [[to_lab(pixels[i : i + 1, j])[0] for j in range(7)] for i in range(5)]
    assert np.array_equal(whole, alone)


def test_there_are_twelve_names_and_every_shade_bears_its_own() -> None:
    assert len(NAMES) == 12
    assert set(NAMES) == set(PALETTE)
    for name, shades in SHADES.items():
        lab = to_lab(np.array([list(bytes.fromhex(s)) for s in shades], np.uint8))
        names, margins = name_colour(lab)
        assert set(names) == {name}
        assert (margins > 0.99).all()


def test_the_palette_of_the_rendered_data_is_named_as_it_is() -> None:
    lab = to_lab((np.array(list(PALETTE.values())) * 255).round().astype(np.uint8))
    assert name_colour(lab)[0] == list(PALETTE)


@pytest.mark.parametrize(
    ("rgb", "name"),
    [((40, 60, 110), "blue"), ((120, 20, 25), "red"), ((60, 90, 60), "green"), ((20, 20, 24), "black")],
)
def test_everyday_colours_get_their_everyday_names(rgb: tuple[int, int, int], name: str) -> None:
    assert name_colour(to_lab(np.array([rgb], np.uint8)))[0] == [name]


def test_the_margin_falls_towards_the_next_name() -> None:
    red, orange = to_lab(np.array([(200, 24, 28), (208, 88, 28)], np.uint8))
    between = np.stack([red, 0.75 * red + 0.25 * orange, 0.55 * red + 0.45 * orange])
    margins = name_colour(between)[1]
    assert margins[0] > margins[1] > margins[2] >= 0


def test_clusters_are_the_groups_that_are_there_with_their_shares() -> None:
    rng = np.random.default_rng(1)
    truth = np.array([[20, 0, 0], [60, 50, 30], [80, -30, 60]], np.float32)
    labels = np.repeat([0, 1, 2], [120, 60, 20])
    points = (truth[labels] + rng.normal(0, 1, (200, 3))).astype(np.float32)
    for seed in range(5):
        centres, shares = cluster(np.stack([points, points[::-1]]), np.random.default_rng(seed))
        assert centres.shape == (2, 3, 3)
        assert np.allclose(shares, [[0.6, 0.3, 0.1]] * 2)
        assert np.abs(centres - truth).max() < 1


def test_points_that_are_all_alike_are_one_cluster() -> None:
    centres, shares = cluster(np.full((1, 50, 3), 42, np.float32), np.random.default_rng(0))
    assert np.allclose(shares, [[1, 0, 0]])
    assert np.isfinite(centres).all() and np.allclose(centres[0, 0], 42)


def test_clusters_follow_the_random_state_alone() -> None:
    points = np.random.default_rng(0).normal(0, 30, (2, 100, 3)).astype(np.float32)
    first, again = (cluster(points, np.random.default_rng(4)) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
