"""Vectors by key: found at once, wherever they lie, also where keys are alike."""

from __future__ import annotations

import numpy as np
import pytest

from reid.errors import DataError
from reid.evaluate.features.table import FeatureRows, FeatureTable, key_codes


def keys(count: int, seed: int = 0) -> list[str]:
    return [np.random.default_rng([seed, i]).bytes(16).hex() for i in range(count)]


def vectors(count: int, dim: int = 4, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)


def test_a_vector_is_found_by_its_key_in_any_block() -> None:
    names, rows = keys(50), vectors(50)
    blocks = [(key_codes(names[a:b]), rows[a:b]) for a, b in ((0, 7), (7, 7), (7, 50))]
    table = FeatureTable(blocks)
    order = np.random.default_rng(1).permutation(50)
    found = table.find(key_codes(names[i] for i in order))
    assert np.array_equal(table.take(found), rows[order])
    assert len(table) == 50 and set(table) == set(names)
    assert np.array_equal(table[names[9]], rows[9])
    assert "0" * 32 not in table and table.get("0" * 32) is None and "short" not in table
    assert table.find(key_codes([*keys(2, seed=1), names[3]])).tolist()[:2] == [-1, -1]


def test_keys_with_the_same_beginning_are_told_apart() -> None:
    names = ["a" * 16 + f"{i:016x}" for i in range(40)] + ["b" * 32]
    table = FeatureTable([(key_codes(names), vectors(41))])
    asked = key_codes([names[39], names[0], "a" * 16 + "f" * 16, names[40], "f" * 32])
    assert table.find(asked).tolist() == [39, 0, -1, 40, -1]


def test_of_a_key_that_comes_twice_the_first_counts() -> None:
    """Two runs at once may have embedded the same; both are right."""
    name = keys(1)
    table = FeatureTable([(key_codes(name), vectors(1)), (key_codes(name), vectors(1, seed=5))])
    assert len(table) == 1
    assert np.array_equal(table[name[0]], vectors(1)[0])


def test_an_empty_table_finds_nothing() -> None:
    assert FeatureTable().find(key_codes(keys(2))).tolist() == [-1, -1]
    assert FeatureTable().take(np.zeros(0, np.int64)).shape == (0, 0)


def test_what_does_not_belong_together_is_refused() -> None:
    with pytest.raises(DataError, match="3 and 4 numbers"):
        FeatureTable([(key_codes(keys(1)), vectors(1, 3)), (key_codes(keys(1, 1)), vectors(1, 4))])
    with pytest.raises(DataError, match="32 hex digits"):
        key_codes(["rgb"])
    with pytest.raises(DataError, match="32 hex digits"):
        key_codes(["z" * 32])
    with pytest.raises(DataError, match="missing"):
        FeatureTable([(key_codes(keys(1)), vectors(1))]).take(np.array([-1]))


def test_rows_are_read_in_their_order_and_may_be_narrowed() -> None:
    table = FeatureTable([(key_codes(keys(6)), vectors(6))])
    rows = FeatureRows(table, np.array([5, 0, 3]))
    assert rows.shape == (3, 4)
    assert np.array_equal(rows.array(), vectors(6)[[5, 0, 3]])
    assert np.array_equal(rows[slice(1, 3)][np.array([1])].array(), vectors(6)[[3]])
