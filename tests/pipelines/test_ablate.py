"""Ablation: mistakes are told first, the table is that of the evaluations, and nothing is trained twice."""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

import pipelines.ablate
from pipelines.ablate import AblationResult, Campaign, ablate_runs, plan_ablation, prepare
from pipelines.training.train import train_run
from reid.config import Config, override
from reid.data.shards.shard_set import ShardSet
from reid.errors import ConfigError, DataError, UsageError, WeightsError
from reid.runs.folder import RunFolder
from reid.studies.ladders.table import MEAN
from tests.support.tiny_configs import config_of, silent

MATCHED = ("model.fusion=concat", "data.modalities=rgb+nir+tir", "evaluate.gallery=null")
LADDER = [
    {"name": "small", "set": {"model.tower.dim": 8}},
    {"name": "+size", "set": {"model.tower.dim": 12}, "note": "half as much again"},
]


def ladder(folder: Path, rows: Any = LADDER) -> str:
    path = folder / "ladder.yaml"
    path.write_text(yaml.safe_dump(rows))
    return str(path)


def settings(shards: ShardSet, folder: Path, rows: Any = LADDER, *overrides: str) -> Config:
    return config_of(
        folder / "work",
        *MATCHED,
        f"data.shards={shards.root}",
        f"ablate.ladder={ladder(folder, rows)}",
        "ablate.seeds=[0, 5]",
        *overrides,
    )


def campaign_of(config: Config) -> Campaign:
    return prepare(plan_ablation(config))


@dataclass(frozen=True)
class Done:
    """A finished campaign of two rows and two seeds."""

    config: Config
    result: AblationResult
    lines: list[str]


@pytest.fixture(scope="module")
def done(shards: ShardSet, tmp_path_factory: pytest.TempPathFactory) -> Done:
    config = settings(shards, tmp_path_factory.mktemp("ablate"))
    lines: list[str] = []
    return Done(config, ablate_runs(campaign_of(config), lines.append), lines)


def reports(result: AblationResult) -> dict[tuple[str, int], dict[str, Any]]:
    """(row, seed) -> the evaluation's own report, as on disk."""
    runs = result.table.runs
    return {(r.row, r.seed): json.loads(Path(str(r.report)).read_text()) for r in runs}


def full(report: dict[str, Any]) -> dict[str, Any]:
    (found,) = [row for row in report["results"] if row["query"] == "rgb+nir+tir"]
    return dict(found)


def test_the_table_is_that_of_the_evaluations(done: Done) -> None:
    told = reports(done.result)
    assert sorted(told) == [("+size", 0), ("+size", 5), ("small", 0), ("small", 5)]
    rows = {row["name"]: row for row in done.result.to_dict()["rows"]}
    for name in ("small", "+size"):
        for metric in ("mAP", "R1"):
            a, b = (full(told[name, seed])[metric] for seed in (0, 5))
            assert rows[name]["metrics"][metric]["mean"] == pytest.approx((a + b) / 2)
            assert rows[name]["metrics"][metric]["std"] == pytest.approx(abs(a - b) / 2**0.5)
        averages = [statistics.fmean(r["mAP"] for r in told[name, seed]["results"]) for seed in (0, 5)]
        assert rows[name]["metrics"][MEAN]["mean"] == pytest.approx(statistics.fmean(averages))
        assert len(told[name, 0]["results"]) == 7
    gains = [full(told["+size", s])["mAP"] - full(told["small", s])["mAP"] for s in (0, 5)]
    assert rows["+size"]["difference"]["mAP"]["mean"] == pytest.approx(statistics.fmean(gains))
    assert rows["+size"]["difference"]["mAP"]["std"] == pytest.approx(statistics.stdev(gains))
    folders = [RunFolder.open(r.run) for r in done.result.table.runs]
    assert [r.parameters for r in done.result.table.runs] == [f.info["parameters"]["total"] for f in folders]
    assert rows["small"]["parameters"] < rows["+size"]["parameters"]
    seconds = [sum(epoch["seconds"] for epoch in folder.metrics()) for folder in folders]
    assert [r.seconds for r in done.result.table.runs] == pytest.approx(seconds)


def test_a_cell_is_the_run_that_training_alone_gives(done: Done, tmp_path: Path) -> None:
    """Nothing of one run leaks into the next one of the same process."""
    fields = {"model.tower.dim": 12, "seed": 5, "workdir": str(tmp_path)}
    alone = train_run(override(done.config, fields), silent).run
    (cell,) = [r for r in done.result.table.runs if (r.row, r.seed) == ("+size", 5)]
    assert RunFolder.open(cell.run).fingerprint == alone.fingerprint
    assert RunFolder.open(cell.run).config.name == "tiny-size"


def test_files_are_written_and_a_line_a_run_with_the_time_left(done: Done) -> None:
    where = Path(done.result.uri)
    assert where.parent == Path(done.config.workdir) / "ablate" / "tiny"
    tree = json.loads((where / "results.json").read_text())
    assert tree == json.loads(json.dumps(done.result.table.to_dict()))
    text = (where / "table.md").read_text()
    assert "| +size |" in text and "half as much again" in text and "Training seeds 0, 5" in text
    assert done.result.lines()[-1] == f"tables: {where}/table.md"
    told = [line for line in done.lines if line.startswith("ablate: ")]
    starts = ["1/4 runs: small, seed 0", "2/4 runs: +size, seed 0", "3/4 runs: small, seed 5"]
    assert [line.removeprefix("ablate: ").partition(": mAP")[0] for line in told[:3]] == starts
    assert all("trained; " in line and line.endswith(" left") for line in told)
    assert told[3].endswith("; 0 s left")


def test_a_second_call_trains_nothing_and_gives_the_same_table(
    done: Done, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr("pipelines.training.in_process.train", never)
    again = campaign_of(done.config)
    assert again.unfinished == []
    assert not again.needs_ray
    result = ablate_runs(again, silent, raise_errors=True)
    assert result.trained == 0 and done.result.trained == 4
    assert result.uri == done.result.uri
    assert result.table == done.result.table


def test_a_wider_campaign_trains_only_what_it_adds(done: Done) -> None:
    wider = override(done.config, {"ablate.seeds": [0, 5, 6], "ablate.rows": ["+size"]})
    campaign = campaign_of(wider)
    assert [(cell.row, cell.seed) for cell, _ in campaign.unfinished] == [("+size", 6)]
    assert campaign.uri != done.result.uri


def test_rows_that_train_the_same_thing_train_it_once(done: Done, tmp_path: Path) -> None:
    rows = [*LADDER, {"name": "again", "set": {"model.tower.dim": 12, "train.workers": 0}}]
    config = override(done.config, {"ablate.ladder": ladder(tmp_path, rows)})
    plan = plan_ablation(config)
    assert [row.same_as for row in plan.rows] == [None, None, "+size"]
    assert prepare(plan).unfinished == []


def test_the_shown_pairing_and_metrics_can_be_chosen(done: Done) -> None:
    config = override(
        done.config, {"ablate.subset": "tir", "ablate.metrics": ["R5", "mINP"], "ablate.seeds": [0]}
    )
    result = ablate_runs(campaign_of(config), silent, raise_errors=True)
    (told,) = [r for r in reports(result)["small", 0]["results"] if r["query"] == "tir"]
    first = result.table.runs[0]
    assert first.shown == "tir"
    assert first.numbers == {"R5": told["R5"], "mINP": told["mINP"]}
    assert "Δ R5" in result.lines()[0]


def test_a_failing_row_is_listed_and_the_others_go_on(shards: ShardSet, tmp_path: Path) -> None:
    rows = [LADDER[0], {"name": "bad", "set": {"model.weights": "/none/tower.safetensors"}}]
    config = settings(shards, tmp_path, rows)
    lines: list[str] = []
    result = ablate_runs(campaign_of(config), lines.append)
    assert [(r.row, r.seed) for r in result.table.failed] == [("bad", 0), ("bad", 5)]
    assert all("/none/tower.safetensors: no such weights file." in str(r.error) for r in result.table.failed)
    assert result.trained == len(result.table.finished("small")) == 2
    assert any("bad, seed 0 failed: /none/tower" in line for line in lines)
    assert "Failed: bad, seed 5: /none/tower.safetensors" in "\n".join(result.lines())
    tree = json.loads((Path(result.uri) / "results.json").read_text())
    assert [row["finished"] for row in tree["rows"]] == [2, 0]
    with pytest.raises(WeightsError):
        ablate_runs(campaign_of(config), silent, raise_errors=True)


@pytest.mark.parametrize(
    ("rows", "overrides", "kind", "words"),
    [
        (LADDER, ["ablate.ladder=mfrnt"], UsageError, ["no ladder 'mfrnt'", "Did you mean 'mfrnet'?"]),
        (LADDER, ["ablate.rows=[smal]"], ConfigError, ["no row 'smal'", "Did you mean 'small'?"]),
        ([{"name": "x", "set": {"train.epoch": 1}}], [], ConfigError, ["row 'x': train.epoch", "'epochs'"]),
        (LADDER, ["ablate.subset=text"], ConfigError, ["ablate.subset: 'text' is not evaluated", "rgb->rgb"]),
        (LADDER, ["evaluate.protocol=x"], UsageError, ["'x'"]),
        (LADDER, ["evaluate.split=val"], DataError, ["no 'val' samples"]),
        (LADDER, ["data.shards=/none"], DataError, ["/none", "python -m jobs.build"]),
        (LADDER, ["model.weights=run:/none"], WeightsError, ["/none", "no finished run"]),
    ],
)
def test_a_mistake_is_told_before_anything_runs(
    shards: ShardSet, tmp_path: Path, rows: Any, overrides: list[str], kind: type[Exception], words: list[str]
) -> None:
    with pytest.raises(kind) as caught:
        campaign_of(settings(shards, tmp_path, rows, *overrides))
    for word in words:
        assert word in str(caught.value)
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize(
    ("override_", "words"),
    [
        ("ablate.seeds=[1, 1]", "ablate.seeds: give none twice"),
        ("ablate.seeds=[]", "ablate.seeds"),
        ("ablate.metrics=[map]", "ablate.metrics"),
        ("ablate.subset=rgb->sketc", "ablate.subset: Unknown modality 'sketc'. Did you mean 'sketch'?"),
    ],
)
def test_settings_that_make_no_sense_are_refused(override_: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config_of("/w", override_)
    assert words in str(caught.value)


def test_weights_of_the_newest_run_are_pinned_to_that_run(done: Done, tmp_path: Path) -> None:
    """A campaign that goes on for days starts every row from the same weights."""
    first = Path(done.result.table.runs[0].run)
    config = override(
        done.config, {"model.weights": f"run:{first.parent}", "train.init_from": str(first.parent)}
    )
    newest = (first.parent / "LATEST").read_text()
    for cell, _ in campaign_of(config).cells:
        assert vars(cell.config.model)["weights"] == f"run:{first.parent / newest}"
        assert cell.config.train.init_from == str(first.parent / newest)


def test_ray_is_needed_for_actors_and_for_workers_that_have_something_to_do(done: Done) -> None:
    assert campaign_of(override(done.config, {"evaluate.actors": 1})).needs_ray
    assert not campaign_of(override(done.config, {"train.workers": 2})).needs_ray  # all are finished
    assert campaign_of(override(done.config, {"train.workers": 2, "ablate.seeds": [9]})).needs_ray


def test_a_dry_run_lists_rows_seeds_changes_and_what_is_finished(done: Done) -> None:
    tree = plan_ablation(override(done.config, {"ablate.seeds": [5, 9]})).to_dict()
    assert json.loads(json.dumps(tree)) == tree
    assert [row["changes"] for row in tree["rows"]] == [{"model.tower.dim": 8}, {"model.tower.dim": 12}]
    listed = [(run["row"], run["seed"], run["finished"]) for run in tree["runs"]]
    assert listed == [("small", 5, True), ("+size", 5, True), ("small", 9, False), ("+size", 9, False)]
    assert tree["missing"] == []
    unbuilt = plan_ablation(override(done.config, {"data.shards": "/none"})).to_dict()
    assert not any(run["finished"] for run in unbuilt["runs"])
    (told,) = unbuilt["missing"]
    assert "python -m jobs.build" in told


def test_a_loss_of_ray_or_memory_is_a_failed_run_too(done: Done, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("out of memory\nand a long tail")

    monkeypatch.setattr(pipelines.ablate, "evaluate_run", broken)
    result = ablate_runs(campaign_of(override(done.config, {"ablate.seeds": [5]})), silent)
    assert [run.error for run in result.table.failed] == ["RuntimeError: out of memory"] * 2
