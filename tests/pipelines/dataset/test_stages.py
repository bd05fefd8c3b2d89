"""The build on Ray Data: which parts share tasks, what runs in actors, and the same set whatever runs it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
import ray.exceptions
import torch

import pipelines.dataset.stages
from pipelines.dataset.build import build
from pipelines.dataset.stages import Segment, SegmentActor, segments
from reid.config import Config
from reid.config.sections.translate import UNetConfig
from reid.dataset.recipe import Step, make_recipe
from reid.nn.unet import UNet, save_unet
from tests.support.sets.builds import build_config, made_up
from tests.support.sets.photos import build_here, config, photos, quiet_build, rows_of
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


def test_ray_makes_the_set_that_one_process_makes(ray_session: None, tmp_path: Path) -> None:
    root = photos(tmp_path / "in")
    here = build_here(config(root, tmp_path / "here")).shards
    spread = "build.read={cpus: 0.5}"
    there = quiet_build(config(root, tmp_path / "there", spread)).shards
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


class GrantedActor(SegmentActor):
    """Tells which GPUs Ray granted it. They are names only here, so its network computes on the CPU."""

    def __init__(self, config: str, root: str, parts: tuple[tuple[str, ...], ...]) -> None:
        asked: list[tuple[float, str]] = []

        def device(gpus: float, field: str) -> torch.device:
            asked.append((gpus, field))
            return torch.device("cpu")

        pipelines.dataset.stages.device_here = device
        super().__init__(config, root, parts)
        share = ray.get_runtime_context().get_assigned_resources().get("GPU", 0)
        told = {"asked": asked, "ids": len(ray.get_gpu_ids()), "share": share}
        file = Path(root).parent / f"granted-{os.getpid()}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(told))


def two_networks(root: Path, work: Path, first: float = 0, second: float = 0) -> Config:
    """Tasks, a network, tasks, a network in two actors, tasks; the networks have these GPUs."""
    weights = root.parent / "unet.safetensors"
    if not weights.exists():
        save_unet(str(weights), UNet(UNetConfig(width=2, depth=2)).eval(), {"source": "rgb"})
    network = f"generator: ir_unet, params: {{weights: {weights}, at: own}}, cpus: 0.25"
    generate = (
        f"nir: {{{network}, gpus: {first}}}, sketch: {{generator: sketch_dodge}}, "
        f"tir: {{{network}, gpus: {second}, concurrency: 2}}, text: {{generator: cap_attr}}"
    )
    return config(root, work, f"build.generate={{{generate}}}")


@pytest.mark.slow
@pytest.mark.parametrize(("first", "second"), [(1, 0.5), (0, 1)])
def test_stages_on_gpus_get_whole_shards_and_make_the_same_set(
    ray_session: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: float, second: float
) -> None:
    """Ray Data cuts and mixes what GPU stages get unless a batch is one row."""
    root = photos(tmp_path / "in", identities=9)
    here = build_here(two_networks(root, tmp_path / "here")).shards
    monkeypatch.setattr(pipelines.dataset.stages, "SegmentActor", GrantedActor)
    settings = two_networks(root, tmp_path / "there", first, second)
    places = [(s.actors, s.gpus) for s in planned(settings)]
    assert places == [(False, 0), (True, first), (False, 0), (True, second), (False, 0)]
    there = quiet_build(settings).shards
    assert len(there.manifest.shards) > 3
    assert [s.sha256 for s in there.manifest.shards] == [s.sha256 for s in here.manifest.shards]
    assert (there.fingerprint, there.quarantine()) == (here.fingerprint, here.quarantine())
    assert {s.images["tir"].generator for s in rows_of(there, "train")} == {"ir_unet"}
    told = [json.loads(file.read_text()) for file in (tmp_path / "there").glob("granted-*.json")]
    wanted = [(first, "nir"), (second, "tir"), (second, "tir")]
    assert sorted((one["asked"], one["share"], one["ids"]) for one in told) == sorted(
        ([[gpus, f"build.generate.{target}.gpus"]], gpus, int(gpus > 0)) for gpus, target in wanted
    )


@pytest.mark.slow
def test_a_network_that_finds_no_gpu_where_it_was_promised_one_ends_the_build(
    ray_session: None, tmp_path: Path
) -> None:
    settings = two_networks(photos(tmp_path / "in"), tmp_path / "out", 1)
    with pytest.raises(ray.exceptions.RayError, match=r"build\.generate\.nir\.gpus=1: torch sees none here"):
        quiet_build(settings)
