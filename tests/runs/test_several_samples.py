"""A query with several samples of a modality: one vector, whatever their order; never an item."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from reid.errors import DataError, UsageError
from reid.runs.run import Run
from tests.support.world import World

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 60, 30, 3), dtype=np.uint8)


@pytest.fixture
def run(world: World) -> Run:
    return world.run


def unit(vectors: np.ndarray) -> np.ndarray:
    mean = np.asarray(vectors, np.float64).mean(axis=0)
    return mean / np.linalg.norm(mean)


def test_several_samples_are_the_unit_mean_of_each_combination(run: Run) -> None:
    rgb, nir = [PIXELS[0], PIXELS[1]], [PIXELS[2], PIXELS[3], PIXELS[4]]
    views = [{"rgb": a, "nir": b, "text": "a red coat"} for a, b in product(rgb, nir)]
    found = run.embed({"rgb": rgb, "nir": nir, "text": "a red coat"})
    assert found.shape == (run.dim,) and found.dtype == np.float32
    np.testing.assert_allclose(found, unit(run.embed(views)), atol=1e-6)
    turned = run.embed({"text": ["a red coat"], "nir": nir[::-1], "rgb": tuple(rgb[::-1])})
    np.testing.assert_allclose(turned, found, atol=1e-6)


def test_one_sample_in_a_list_is_that_sample_and_rows_keep_their_order(run: Run) -> None:
    single = run.embed({"rgb": PIXELS[0]})
    np.testing.assert_array_equal(run.embed({"rgb": [PIXELS[0]]}), single)
    rows = run.embed([{"rgb": PIXELS[0]}, {"rgb": [PIXELS[1], PIXELS[2]]}, PIXELS[3]])
    assert rows.shape == (3, run.dim)
    np.testing.assert_allclose(rows[0], single, atol=1e-6)
    np.testing.assert_allclose(rows[1], unit(run.embed([PIXELS[1], PIXELS[2]])), atol=1e-6)
    np.testing.assert_allclose(rows[2], run.embed(PIXELS[3]), atol=1e-6)


def test_what_is_no_query_of_several_samples_is_told(run: Run) -> None:
    with pytest.raises(UsageError, match="Row 1: Several samples of a modality make a query, not an item"):
        run.embed([PIXELS[0], {"rgb": [PIXELS[1], PIXELS[2]]}], side="gallery")
    with pytest.raises(UsageError, match="rgb: an empty list of samples; leave the modality out"):
        run.embed({"rgb": [], "text": "a red coat"})
    with pytest.raises(UsageError, match="Row 0: A query with 17 x 16 samples has 272 combinations"):
        run.embed([{"rgb": [PIXELS[0]] * 17, "nir": [PIXELS[1]] * 16}])
    with pytest.raises(DataError, match="rgb: not an image"):
        run.embed({"rgb": [PIXELS[0], b"some words"]})
