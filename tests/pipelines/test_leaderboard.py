"""A leaderboard trains every system alike, goes on where it stopped, and lists what failed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.leaderboard import plan_leaderboard, run_leaderboard
from reid.errors import ConfigError
from reid.runs.folder import RunFolder
from reid.studies.leaderboard.definition import SECONDS, STEPS, Benchmark
from tests.support.tiny_configs import silent

TINY = {"arch": None, "patch": 8, "width": 16, "layers": 1, "heads": 2, "dim": 16, "quick_gelu": False}
MODEL = {"model.tower": TINY, "train.batch.identities": 4}
SPEC: dict[str, Any] = {
    "name": "small",
    "about": "two systems",
    "baseline": "mean",
    "seeds": [0],
    "budget": {"steps": 4, "seconds": 0.5, "epochs": 2},
    "data": {
        "data.name": "small",
        "data.reader.train_identities": 12,
        "data.reader.test_identities": 6,
        "data.reader.cameras": 2,
        "data.reader.modalities": "rgb+nir",
        "data.reader.height": 32,
        "data.reader.width": 16,
        "data.height": 32,
        "data.width": 16,
        "train.workers": 0,
        "train.loader.kind": "threads",
        "train.val.fraction": 0,
        "evaluate.protocol": "cross_camera",
        "evaluate.actors": 0,
        "evaluate.histogram": False,
    },
    "systems": [
        {
            "name": "mean",
            "preset": "baseline/synthetic",
            "set": {"model.fusion": "mean", "data.modalities": "rgb+nir", **MODEL},
        },
        {"name": "blocks", "preset": "baseline/synthetic", "set": {"data.modalities": "rgb+nir", **MODEL}},
    ],
    "tracks": [
        {"name": "matched", "about": "both", "pairings": ["rgb+nir->rgb+nir"]},
        {"name": "crossing", "about": "nir finds rgb", "pairings": ["nir->rgb"]},
    ],
}


def spec(**changes: Any) -> Benchmark:
    return Benchmark.model_validate({**SPEC, **changes})


def test_a_system_is_asked_only_what_it_answers_without_leaving_a_modality_out(tmp_path: Path) -> None:
    plan = plan_leaderboard(spec(), [SECONDS], [f"workdir={tmp_path}"])
    assert plan.answers["mean"][0] == ["rgb+nir->rgb+nir", "nir->rgb"]
    answered, refused = plan.answers["blocks"]
    assert answered == ["rgb+nir->rgb+nir"]
    assert set(refused) == {"nir->rgb"}
    assert [(c.budget, c.system.name) for c in plan.cells] == [
        (STEPS, "mean"),
        (STEPS, "blocks"),
        (SECONDS, "mean"),
        (SECONDS, "blocks"),
    ]


def test_systems_are_measured_on_the_same_data(tmp_path: Path) -> None:
    systems = [SPEC["systems"][0], {**SPEC["systems"][1]}]
    systems[1]["set"] = {**systems[1]["set"], "data.reader.difficulty": 0.9}
    with pytest.raises(ConfigError, match="blocks would be measured on other data than mean"):
        plan_leaderboard(spec(systems=systems), [STEPS], [f"workdir={tmp_path}"])


@pytest.mark.slow
def test_every_system_starts_from_the_warm_start(ray_session: None, tmp_path: Path) -> None:
    others = {
        "data.modalities": "rgb+nir",
        "data.reader.id_offset": 1000,
        "model.fusion": "mean",
        "train.epochs": 1,
    }
    first = {"preset": "baseline/synthetic", "set": {**SPEC["data"], **others, **MODEL}}
    benchmark = spec(warm_start=first, systems=SPEC["systems"][:1])
    plan = plan_leaderboard(benchmark, [STEPS], [f"workdir={tmp_path}"])
    result = run_leaderboard(plan, {}, silent)
    assert not result.failed
    tree = json.loads(Path(f"{result.uri}/results.json").read_text())
    assert tree["origin"]["warm start"].startswith("baseline-synthetic, ")
    trained = RunFolder.open(tree["runs"][0]["run"]).config
    assert str(trained.model.weights).startswith(f"run:{tmp_path}")


@pytest.mark.slow
def test_the_same_command_goes_on_and_a_failed_run_is_listed(ray_session: None, tmp_path: Path) -> None:
    broken = {
        "name": "broken",
        "preset": "baseline/synthetic",
        "set": {"data.modalities": "rgb+nir", **MODEL},
    }
    broken["set"] = {**broken["set"], "train.batch.identities": 500}
    plan = plan_leaderboard(
        spec(systems=[*SPEC["systems"], broken]), [SECONDS], [f"workdir={tmp_path / 'work'}"]
    )
    lines: list[str] = []
    result = run_leaderboard(plan, {"commit": "abc"}, lines.append)
    assert [run.system for run in result.failed] == ["broken", "broken"]
    tree = json.loads(Path(f"{result.uri}/results.json").read_text())
    assert tree["origin"]["commit"] == "abc"
    equal = [run["steps"] for run in tree["runs"] if run["budget"] == STEPS and not run["error"]]
    assert equal == [4, 4]
    assert Path(f"{result.uri}/leaderboard.html").is_file()
    before = {file: file.stat().st_mtime_ns for file in Path(tmp_path).rglob("weights.safetensors")}
    again = run_leaderboard(plan, {"commit": "abc"}, silent)
    assert {file: file.stat().st_mtime_ns for file in Path(tmp_path).rglob("weights.safetensors")} == before
    assert again.tables[0].grid() == result.tables[0].grid()
