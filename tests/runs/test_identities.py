"""Labels and splits are functions of the data alone."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from reid.errors import ConfigError
from reid.runs.identities import LabelMap, split_identities, training_labels
from tests.support.models.tiny_training import make_sample, publish_samples, publish_tiny_set

IDENTITIES = [("a", pid) for pid in range(60)] + [("b", pid) for pid in range(40)]


def test_a_split_is_disjoint_complete_and_of_the_asked_size() -> None:
    train, val = split_identities(IDENTITIES, 0.2, seed=0)
    assert (len(train), len(val)) == (80, 20)
    assert sorted([*train, *val]) == sorted(IDENTITIES)
    assert train == sorted(train)
    assert val == sorted(val)


def test_a_split_does_not_depend_on_the_order_of_the_identities() -> None:
    shuffled = random.Random(1).sample(IDENTITIES, len(IDENTITIES))
    assert split_identities(shuffled, 0.2, seed=0) == split_identities(IDENTITIES, 0.2, seed=0)


def test_another_seed_holds_out_others() -> None:
    splits = {tuple(split_identities(IDENTITIES, 0.2, seed)[1]) for seed in range(5)}
    assert len(splits) == 5


def test_identities_added_elsewhere_move_nobody_but_at_the_border() -> None:
    """Half as many again: whoever stays in validation was there before, or the share has grown."""
    before = set(split_identities(IDENTITIES, 0.2, seed=0)[1])
    after = set(split_identities([*IDENTITIES, ("c", 0)], 0.2, seed=0)[1])
    assert len(before ^ after) <= 2
    more = set(split_identities(IDENTITIES + [("c", pid) for pid in range(50)], 0.2, seed=0)[1])
    known = {i for i in more if i[0] != "c"}
    assert known <= before or before <= known


@pytest.mark.parametrize(
    ("count", "fraction", "held"), [(5, 0.1, 2), (4, 0.01, 2), (20, 0.1, 2), (30, 0.1, 3)]
)
def test_a_fraction_holds_out_two_identities_at_least(count: int, fraction: float, held: int) -> None:
    assert len(split_identities(IDENTITIES[:count], fraction, seed=0)[1]) == held


@pytest.mark.parametrize(("count", "fraction"), [(3, 0.1), (1, 0.5), (10, 0.9)])
def test_too_few_identities_to_hold_any_out_are_refused(count: int, fraction: float) -> None:
    with pytest.raises(ConfigError, match=rf"train\.val\.fraction: {count} training identities are too few"):
        split_identities(IDENTITIES[:count], fraction, seed=0)


def test_nothing_is_held_out_at_zero() -> None:
    assert split_identities(IDENTITIES, 0.0, seed=0) == (sorted(IDENTITIES), [])


def test_labels_are_positions_in_sorted_order_whatever_the_order_of_the_rows(tmp_path: Path) -> None:
    rows = [make_sample(p, c, dataset=d) for d in ("z", "m") for p in (10, 9, 2) for c in (7, 3)]
    maps = []
    for i in range(3):
        shuffled = random.Random(i).sample(rows, len(rows))
        labels, held_out = training_labels(publish_samples(tmp_path / str(i), shuffled), 0.0, seed=0)
        assert held_out == []
        maps.append(labels)
    assert maps[0] == maps[1] == maps[2]
    assert maps[0].classes == (("m", 2), ("m", 9), ("m", 10), ("z", 2), ("z", 9), ("z", 10))
    assert maps[0].labels["z", 2] == 3
    assert maps[0].camera_labels == {3: 0, 7: 1}


def test_held_out_identities_have_no_label(tmp_path: Path) -> None:
    labels, held_out = training_labels(publish_tiny_set(tmp_path), 0.25, seed=0)
    assert len(held_out) == 2
    assert not set(held_out) & set(labels.classes)
    assert sorted(labels.labels.values()) == list(range(6))


@pytest.mark.parametrize("fraction", [0.0, 0.5])
def test_a_validation_split_of_the_data_wins_over_a_fraction(tmp_path: Path, fraction: float) -> None:
    rows = [make_sample(p, c, "train" if p < 4 else "val") for p in range(6) for c in (0, 1)]
    labels, held_out = training_labels(publish_samples(tmp_path, rows), fraction, seed=0)
    assert [pid for _, pid in labels.classes] == [0, 1, 2, 3]
    assert [pid for _, pid in held_out] == [4, 5]


def test_a_label_map_survives_its_file() -> None:
    for labels in (LabelMap((("a", 3), ("b", 1)), (0, 4)), LabelMap((), ())):
        assert LabelMap.from_parquet(labels.to_parquet()) == labels


def test_labels_of_earlier_runs_are_read() -> None:
    tree = {"classes": [["a", 3], ["b", 1]], "cameras": [0, 4]}
    assert LabelMap.from_json(tree) == LabelMap((("a", 3), ("b", 1)), (0, 4))
