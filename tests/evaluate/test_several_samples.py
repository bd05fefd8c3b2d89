"""The one rule for a query with several samples of a modality."""

from __future__ import annotations

import numpy as np
import pytest

from reid.errors import UsageError
from reid.evaluate.features.table import FeatureRows, FeatureTable, key_codes
from reid.evaluate.several_samples import MOST_VIEWS, pooled, views_of


def vectors(count: int, seed: int = 0) -> np.ndarray:
    found = np.random.default_rng(seed).normal(size=(count, 8)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def test_the_vector_is_the_unit_mean_of_the_views_unit_vectors() -> None:
    views = vectors(6)
    found = pooled(views * np.arange(1, 7)[:, None].astype(np.float32), np.array([0, 3, 4, 6]))
    for place, (start, stop) in enumerate([(0, 3), (4, 6)]):
        mean = views[start:stop].mean(axis=0)
        np.testing.assert_allclose(found[2 * place], mean / np.linalg.norm(mean), atol=1e-6)
    np.testing.assert_array_equal(found[1], views[3] * 4)  # one view keeps its vector, to the bit


def test_the_order_of_samples_plays_no_part() -> None:
    views = vectors(5)
    one, other = (pooled(v, np.array([0, 5])) for v in (views, views[::-1]))
    np.testing.assert_allclose(one, other, atol=1e-7)


def test_views_that_cancel_out_are_no_number_that_is_not_finite() -> None:
    assert pooled(np.array([[1, 0], [-1, 0]], np.float32), np.array([0, 2])).tolist() == [[0.0, 0.0]]


def test_rows_of_a_table_are_averaged_where_they_are_read() -> None:
    stored = vectors(4)
    table = FeatureTable([(key_codes([f"{i:032x}" for i in range(4)]), stored)])
    rows = FeatureRows(table, np.array([3, 0, 1, 2, 2]), np.array([0, 2, 3, 5]))
    whole = pooled(stored[[3, 0, 1, 2, 2]], np.array([0, 2, 3, 5]))
    assert (len(rows), rows.shape) == (3, (3, 8))
    np.testing.assert_array_equal(rows.array(), whole)
    np.testing.assert_array_equal(rows[1:3].array(), whole[1:3])
    np.testing.assert_array_equal(rows[np.array([2, 0])].array(), whole[[2, 0]])
    assert rows[0:0].array().shape == (0, 8)


def test_more_combinations_than_are_embedded_are_refused() -> None:
    assert len(views_of({"a": range(16), "b": range(16)})) == MOST_VIEWS
    with pytest.raises(UsageError, match="17 x 16 samples has 272 combinations"):
        views_of({"a": range(17), "b": range(16)})
