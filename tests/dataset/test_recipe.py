"""What a build will do: the order of generators, which share a stage, and what changes a name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reid.data.readers.base import open_reader
from reid.dataset.recipe import Recipe, check_masks
from reid.errors import ConfigError
from reid.modality import Target
from tests.support.sets.builds import build_config, made_up, recipe_of

SKETCH: dict[str, Any] = {"generator": "sketch_dog"}
NIR: dict[str, Any] = {"generator": "ir_nir"}
MASK: dict[str, Any] = {"generator": "net_mask"}


@pytest.fixture(autouse=True)
def _generators() -> Iterator[None]:
    with made_up():
        yield


def order(recipe: Recipe) -> list[str]:
    return [step.target.value for step in recipe.steps]


def groups(recipe: Recipe) -> list[list[str]]:
    return [[step.target.value for step in group] for group in recipe.groups()]


def keys(recipe: Recipe) -> dict[str, str]:
    return {step.target.value: step.key for step in recipe.steps}


def test_generators_run_as_configured(tmp_path: Path) -> None:
    assert order(recipe_of(tmp_path, {"nir": NIR, "sketch": SKETCH})) == [
        "nir",
        "sketch",
    ]
    assert order(recipe_of(tmp_path, {"sketch": SKETCH, "nir": NIR})) == ["sketch", "nir"]


def test_what_looks_at_a_mask_runs_after_it_and_the_rest_stays_in_place(tmp_path: Path) -> None:
    given = {"sketch": {"generator": "cut_sketch"}, "nir": NIR, "mask": {"generator": "mask_prior"}}
    assert order(recipe_of(tmp_path, given)) == ["nir", "mask", "sketch"]


def test_a_generator_that_reads_a_generated_modality_runs_after_it(tmp_path: Path) -> None:
    assert order(recipe_of(tmp_path, {"tir": {"generator": "flat_tir"}, "nir": NIR})) == ["nir", "tir"]


def test_what_reads_any_camera_waits_for_none(tmp_path: Path) -> None:
    assert order(recipe_of(tmp_path, {"mask": MASK, "nir": NIR})) == ["mask", "nir"]
    assert recipe_of(tmp_path, {"mask": MASK, "nir": NIR}).by_target[Target.MASK].needs == ()


def test_generators_that_wait_for_each_other_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"build\.generate: tir, nir wait for each other"):
        recipe_of(tmp_path, {"tir": {"generator": "flat_tir"}, "nir": {"generator": "nir_of_tir"}})


def test_functions_in_a_row_share_a_stage_and_a_network_stands_alone(tmp_path: Path) -> None:
    given = {
        "nir": NIR,
        "tir": {"generator": "flat_tir"},
        "mask": MASK,
        "sketch": {"generator": "cut_sketch"},
    }
    assert groups(recipe_of(tmp_path, given)) == [["nir", "tir"], ["mask"], ["sketch"]]


def test_processes_are_refused_for_a_function(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"generate\.sketch: 'sketch_dog' is a function.*build\.light"):
        recipe_of(tmp_path, {"sketch": {**SKETCH, "concurrency": 2}})


def test_a_changed_parameter_changes_its_key_and_the_keys_of_what_needs_it(tmp_path: Path) -> None:
    given = {"mask": MASK, "sketch": {"generator": "cut_sketch"}, "nir": NIR}
    before = keys(recipe_of(tmp_path, given))
    after = keys(recipe_of(tmp_path, {**given, "mask": {**MASK, "params": {"level": 90}}}))
    assert {t for t in before if before[t] != after[t]} == {"mask", "sketch"}
    after = keys(recipe_of(tmp_path, {**given, "nir": {**NIR, "missing_only": False}}))
    assert {t for t in before if before[t] != after[t]} == {"nir"}
    assert set(keys(recipe_of(tmp_path, given, seed=1)).values()).isdisjoint(before.values())


def test_a_key_depends_on_no_resource_and_not_on_the_order(tmp_path: Path) -> None:
    given = {"mask": MASK, "nir": NIR}
    before = recipe_of(tmp_path, given)
    fast = {"mask": {**MASK, "concurrency": 4, "gpus": 0.5, "cpus": 2, "batch_size": 64}, "nir": NIR}
    after = recipe_of(tmp_path, fast, concurrency=3, read={"cpus": 0.5}, clean="never", max_bad_fraction=0.9)
    assert keys(before) == keys(after)
    assert (before.made, before.source) == (after.made, after.source)
    assert recipe_of(tmp_path, dict(reversed(given.items()))).made == before.made


def test_the_name_of_a_set_depends_on_content_only(tmp_path: Path) -> None:
    given = build_config(tmp_path, {"sketch": SKETCH}).build
    placed: dict[str, Any] = {"write": {"concurrency": 9}, "light": {"cpus": 2}, "duplicates": "keep"}
    same = build_config(tmp_path, {"sketch": {**SKETCH, "batch_size": 2}}, **placed).build
    assert same.content() == given.content()
    changes = ("seed", 3), ("rows_per_shard", 7), ("duplicates", "quarantine"), ("max_pixels", 9)
    for change in changes:
        other = build_config(tmp_path, {"sketch": SKETCH}, **dict([change]))
        assert other.build.content() != given.content()


def test_a_mask_that_nobody_can_give_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    config = build_config(tmp_path, {"sketch": {"generator": "cut_sketch"}})
    recipe = recipe_of(tmp_path, {"sketch": {"generator": "cut_sketch"}})
    reader = open_reader(config.data.reader, "made")
    with pytest.raises(ConfigError, match=r"sketch\.generator: 'cut_sketch' needs a mask.*mask_prior"):
        check_masks(recipe, reader, masks=False)
    check_masks(recipe, reader, masks=True)
    check_masks(recipe_of(tmp_path, {"sketch": SKETCH}), reader, masks=False)
