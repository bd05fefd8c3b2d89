"""The build on Ray Data: which parts share tasks, what runs in actors, and the same set whatever runs it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import pipelines.dataset.stages
from pipelines.dataset.build import build
from pipelines.dataset.stages import Segment, run_shards, segments
from reid.config import Config
from reid.data.shards.manifest import Shard
from reid.dataset.planning.shard_task import ShardTask
from reid.dataset.recipe import Step, make_recipe
from tests.support.sets.builds import build_config, made_up
from tests.support.sets.photos import build_here, config, photos, rows_of
from tests.support.tiny_configs import silent

LIGHT: dict[str, Any] = {"sketch": {"generator": "sketch_dog"}, "nir": {"generator": "ir_nir"}}
NET: dict[str, Any] = {"mask": {"generator": "net_mask", "gpus": 0.5, "concurrency": 2}}


@pytest.fixture
def generators() -> Iterator[None]:
    with made_up():
        yield


def planned(settings: Config) -> list[Segment]:
    return segments(settings, make_recipe(settings))


def test_without_networks_all_parts_are_one_stage(tmp_path: Path) -> None:
    found = planned(build_config(tmp_path, LIGHT, concurrency=3))
    assert found == [Segment((("read",), ("sketch", "nir"), ("write",)), 1.0, 3)]


def test_parts_that_are_placed_otherwise_are_stages_of_their_own(tmp_path: Path) -> None:
    places: dict[str, Any] = {"read": {"cpus": 0.25, "concurrency": 8}, "write": {"concurrency": 1}}
    found = planned(build_config(tmp_path, LIGHT, **places))
    assert found == [
        Segment((("read",),), 0.25, 8),
        Segment((("sketch", "nir"),), 1.0, None),
        Segment((("write",),), 1.0, 1),
    ]


def test_a_network_has_actors_with_its_resources_between_the_tasks(tmp_path: Path, generators: None) -> None:
    cut = {"generator": "cut_sketch"}
    found = planned(build_config(tmp_path, {**LIGHT, **NET, "sketch": cut}))
    assert found == [
        Segment((("read",), ("nir",)), 1.0, None),
        Segment((("mask",),), 1, 2, actors=True, gpus=0.5),
        Segment((("sketch",), ("write",)), 1.0, None),
    ]
    assert planned(build_config(tmp_path, {"mask": {"generator": "net_mask"}}))[1].concurrency is None


def test_ray_makes_the_set_that_one_process_makes_in_parts_and_after_a_stop(
    ray_session: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = photos(tmp_path / "in")
    first = build_here(config(root, tmp_path / "here"))
    here = first.shards
    settings = config(root, tmp_path / "there", "build.read={cpus: 0.5}")

    def stopped(given: Config, where: str, tasks: Sequence[ShardTask]) -> Iterator[Shard]:
        yield next(run_shards(given, where, tasks, silent))
        raise KeyboardInterrupt

    monkeypatch.setattr("pipelines.task_blocks.AT_ONCE", 1)
    with pytest.raises(KeyboardInterrupt):
        build(settings, out=silent, run=stopped)
    assert len(list((tmp_path / "there/set/data").glob("*.json"))) == 1, "Ray had no other shard yet"
    monkeypatch.setattr("pipelines.task_blocks.AT_ONCE", 2)
    lines: list[str] = []
    result = build(settings, out=lines.append)
    assert (result.built, result.reused) == (first.built - 1, 1)
    done, total = lines[-1].split()[1].split("/")
    assert done == total and "(100 %)" in lines[-1], "rows and time left are of all parts"
    there = result.shards
    assert [s.sha256 for s in there.manifest.shards] == [s.sha256 for s in here.manifest.shards]
    assert there.manifest.worked == here.manifest.worked
    assert (there.fingerprint, there.quarantine()) == (here.fingerprint, here.quarantine())


@pytest.mark.slow
def test_an_actor_pool_makes_the_same_and_loads_once(
    ray_session: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers know no generators of tests: here a function is run where networks are."""
    root = photos(tmp_path / "in")
    here = build_here(config(root, tmp_path / "here")).shards
    loaded: list[Any] = []
    real = pipelines.dataset.stages._heavy

    def heavy(part: Any, recipe: Any) -> Step | None:
        loaded.append(part)
        return recipe.by_target["sketch"] if part == ("sketch",) else real(part, recipe)

    monkeypatch.setattr(pipelines.dataset.stages, "_heavy", heavy)
    there = build(config(root, tmp_path / "there"), out=silent)
    assert ("sketch",) in loaded
    assert [s.sha256 for s in there.shards.manifest.shards] == [s.sha256 for s in here.manifest.shards]
    change = "build.generate.sketch.params={sigma: 3.0}"
    again = build(config(root, tmp_path / "there", change), out=silent)
    assert again.refreshed["made"] == {"sketch": 3} and len(rows_of(again.shards, "train")) == 6
