"""Build stages on GPUs, whole and in parts: every generator gets whole shards and makes the same set.

The GPUs are names only: Ray grants them, and the networks, tiny and of random weights, compute on the CPU.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import ray
import ray.exceptions
import torch

import pipelines.dataset.stages
from pipelines.dataset.stages import SegmentActor, segments
from reid.config import Config
from reid.dataset.recipe import make_recipe
from reid.generate.registry import registry
from tests.support.models.tiny_networks import NAMES, network_section
from tests.support.sets.photos import build_here, config, photos, quiet_build, rows_of


def test_every_generator_that_may_have_gpus_is_tried_here() -> None:
    assert sorted(name for name, entry in registry().items() if entry.kind == "class") == NAMES


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


def granted(folder: Path) -> list[dict[str, Any]]:
    """What the actors of a build in `folder` told."""
    return [json.loads(file.read_text()) for file in folder.glob("granted-*.json")]


def generating(root: Path, work: Path, **sections: dict[str, Any]) -> Config:
    """A build of small photos with these sections of `build.generate`."""
    return config(root, work, f"build.generate={json.dumps(sections)}")


def hashes(settings: Config, on_ray: bool) -> list[str]:
    """Of the shards of a build."""
    shards = quiet_build(settings).shards if on_ray else build_here(settings).shards
    return [shard.sha256 for shard in shards.manifest.shards]


@pytest.mark.slow
@pytest.mark.parametrize(("gpus", "processes"), [(1, 1), (0.5, 2)])
@pytest.mark.parametrize("name", NAMES)
def test_a_generator_on_gpus_makes_what_it_makes_in_one_process(
    ray_session: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    gpus: float,
    processes: int,
) -> None:
    root = photos(tmp_path / "in", identities=6, bad=False)
    target, section = network_section(name, tmp_path / "weights")
    here = hashes(generating(root, tmp_path / "here", **{target.value: section}), on_ray=False)
    monkeypatch.setattr(pipelines.dataset.stages, "SegmentActor", GrantedActor)
    placed = {**section, "gpus": gpus, "concurrency": processes, "cpus": 0.25}
    there = hashes(generating(root, tmp_path / "there", **{target.value: placed}), on_ray=True)
    assert len(there) > 1 and there == here
    told = granted(tmp_path / "there")
    assert 1 <= len(told) <= processes  # the second may find nothing left to do
    assert all((one["share"], one["ids"]) == (gpus, 1) for one in told)
    assert all(one["asked"] == [[gpus, f"build.generate.{target.value}.gpus"]] for one in told)


def two_networks(
    root: Path, work: Path, network: dict[str, Any], first: float = 0, second: float = 0
) -> Config:
    """Tasks, a network, tasks, a network in two actors, tasks; the networks have these GPUs."""
    network = {**network, "cpus": 0.25}
    return generating(
        root,
        work,
        nir={**network, "gpus": first},
        sketch={"generator": "sketch_dodge"},
        tir={**network, "gpus": second, "concurrency": 2},
        text={"generator": "cap_attr"},
    )


@pytest.mark.slow
@pytest.mark.parametrize(("first", "second"), [(1, 0.5), (0, 1)])
def test_stages_on_gpus_get_whole_shards_and_make_the_same_set(
    ray_session: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: float, second: float
) -> None:
    """Ray Data cuts and mixes what GPU stages get unless a batch is one row."""
    root = photos(tmp_path / "in", identities=9)
    _, network = network_section("ir_unet", tmp_path / "weights")
    here = build_here(two_networks(root, tmp_path / "here", network)).shards
    monkeypatch.setattr(pipelines.dataset.stages, "SegmentActor", GrantedActor)
    settings = two_networks(root, tmp_path / "there", network, first, second)
    planned = segments(settings, make_recipe(settings))
    places = [(s.actors, s.gpus) for s in planned]
    assert places == [(False, 0), (True, first), (False, 0), (True, second), (False, 0)]
    there = quiet_build(settings).shards
    assert len(there.manifest.shards) > 3
    assert [s.sha256 for s in there.manifest.shards] == [s.sha256 for s in here.manifest.shards]
    assert (there.fingerprint, there.quarantine()) == (here.fingerprint, here.quarantine())
    assert {s.images["tir"].generator for s in rows_of(there, "train")} == {"ir_unet"}
    told = granted(tmp_path / "there")
    wanted = [(first, "nir"), (second, "tir"), (second, "tir")]
    assert sorted((one["asked"], one["share"], one["ids"]) for one in told) == sorted(
        ([[gpus, f"build.generate.{target}.gpus"]], gpus, int(gpus > 0)) for gpus, target in wanted
    )


@pytest.mark.slow
def test_a_network_that_finds_no_gpu_where_it_was_promised_one_ends_the_build(
    ray_session: None, tmp_path: Path
) -> None:
    _, network = network_section("ir_unet", tmp_path / "weights")
    settings = two_networks(photos(tmp_path / "in"), tmp_path / "out", network, 1)
    with pytest.raises(ray.exceptions.RayError, match=r"build\.generate\.nir\.gpus=1: torch sees none here"):
        quiet_build(settings)
