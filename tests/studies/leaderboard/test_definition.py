"""A benchmark says all that is compared; what is misspelled is told with the nearest name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from reid.errors import ConfigError, UsageError
from reid.studies.leaderboard.definition import Benchmark, benchmarks, load_benchmark

SMALL: dict[str, Any] = {
    "name": "small",
    "about": "two systems",
    "baseline": "mean",
    "budget": {"steps": 10, "seconds": 1, "epochs": 4},
    "data": {"data.reader.test_identities": 7},
    "systems": [
        {"name": "mean", "preset": "baseline/synthetic", "set": {"model.fusion": "mean"}},
        {"name": "mfrnet", "preset": "mfrnet/synthetic"},
    ],
    "tracks": [{"name": "crossing", "about": "nir finds rgb", "pairings": ["nir->rgb"]}],
}


def written(folder: Path, **changes: Any) -> str:
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump({**SMALL, **changes}))
    return str(path)


@pytest.mark.parametrize("name", benchmarks())
def test_every_shipped_benchmark_has_valid_configurations(name: str) -> None:
    spec = load_benchmark(name)
    for system in spec.systems:
        config = spec.with_steps(spec.config(system, 1), 40)
        assert config.seed == 1
        assert config.train.epochs * (config.train.steps_per_epoch or 0) == 40


def test_fields_of_the_data_hold_for_every_system_and_seeds_and_steps_are_set(tmp_path: Path) -> None:
    spec = load_benchmark(written(tmp_path))
    for system in spec.systems:
        config = spec.with_steps(spec.config(system, 5, ["train.optim.lr=0.1"]), 10)
        assert (config.data.reader.test_identities, config.seed) == (7, 5)  # type: ignore[attr-defined]
        assert config.train.optim.lr == 0.1
        assert (config.train.epochs, config.train.steps_per_epoch, config.train.val.every_epochs) == (4, 2, 4)
    assert spec.config(spec.systems[0], 0).model.fusion == "mean"  # type: ignore[attr-defined]


def test_the_baseline_stays_when_systems_are_picked(tmp_path: Path) -> None:
    spec = load_benchmark(written(tmp_path)).pick(["mfrnet"], [3])
    assert [s.name for s in spec.systems] == ["mean", "mfrnet"]
    assert spec.seeds == (3,)
    with pytest.raises(UsageError, match=r"'mfrnett'.*mfrnet"):
        load_benchmark(written(tmp_path)).pick(["mfrnett"])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"baseline": "mfr"}, "no system 'mfr'"),
        ({"traks": []}, "tracks"),
        ({"seeds": [1, 1]}, "'1' comes twice"),
        ({"tracks": [{"name": "a", "about": "b", "pairings": ["nir"]}]}, "names no gallery"),
        ({"tracks": [{"name": "a", "about": "b", "pairings": ["nirr->rgb"]}]}, "nir"),
        ({"budget": {"steps": 0, "seconds": 1}}, "steps"),
    ],
)
def test_a_wrong_benchmark_is_one_message(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_benchmark(written(tmp_path, **changes))


def test_a_wrong_field_of_a_system_names_the_system(tmp_path: Path) -> None:
    systems = [{"name": "mean", "preset": "baseline/synthetic", "set": {"model.fussion": "mean"}}]
    spec = load_benchmark(written(tmp_path, systems=systems))
    with pytest.raises(ConfigError, match=r"small, system 'mean'.*fusion"):
        spec.config(spec.systems[0], 0)


def test_an_unknown_benchmark_is_told_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="embedded"):
        load_benchmark("embeded")
    with pytest.raises(UsageError, match="no such file"):
        load_benchmark("nowhere.yaml")


def test_the_type_is_strict() -> None:
    assert Benchmark.model_config["extra"] == "forbid"
