"""Ladders as data: a mistake is told by row and field, and every shipped row fits its system's presets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from reid.config import Config, load
from reid.errors import ConfigError, UsageError
from reid.models.base import ModelContext
from reid.models.registry import build_model
from reid.nn.parameters import parameter_counts
from reid.runs.describe import PUBLISHED
from reid.runs.untrained import untrained_model
from reid.studies.ladders import LadderRow, apply, differences, ladders, load_ladder
from reid.studies.ladders.fitting import row_configs, used_groups, without_idle_groups
from reid.train.optimizer import build_optimizer

BASE = "baseline/synthetic"


def written(folder: Path, rows: Any) -> str:
    path = folder / "mine.yaml"
    path.write_text(rows if isinstance(rows, str) else yaml.safe_dump(rows))
    return str(path)


def test_a_row_changes_its_fields_and_nothing_else() -> None:
    base = load(BASE)
    row = LadderRow(
        name="x", set={"train.optim.lr": 0.1, "model.tower.layers": 2, "train.epochs": base.train.epochs}
    )
    changed = apply(base, row)
    assert differences(base, changed) == {"train.optim.lr": 0.1, "model.tower.layers": 2}
    assert differences(base, base) == {}


def test_a_file_is_a_ladder_and_rows_are_picked_in_the_order_asked(tmp_path: Path) -> None:
    path = written(tmp_path, [{"name": "a"}, {"name": "+B", "set": {"seed": 1}, "note": "b"}, {"name": "c"}])
    ladder = load_ladder(path)
    assert ladder.name == path
    assert [row.name for row in ladder.pick(None)] == ["a", "+B", "c"]
    assert [row.name for row in ladder.pick(["c", "a"])] == ["c", "a"]
    assert ladder.rows[1].note == "b"


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("{a: 1}", ["expected a list of rows"]),
        ("[]", ["expected a list of rows"]),
        ("- [", ["not valid YAML"]),
        ([{"name": "a"}, {"name": "b", "sett": {}}], ["row 2.sett", "Did you mean 'set'?"]),
        ([{"set": {}}], ["row 1.name: missing"]),
        ([{"name": "a"}, {"name": "a"}], ["two rows are named 'a'"]),
    ],
)
def test_a_file_that_is_no_ladder_is_told_with_the_place(tmp_path: Path, rows: Any, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load_ladder(written(tmp_path, rows))
    for word in ("mine.yaml", *words):
        assert word in str(caught.value)


def test_an_unknown_ladder_file_or_row_suggests_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no ladder 'mfrnt'\. Did you mean 'mfrnet'\?"):
        load_ladder("mfrnt")
    with pytest.raises(UsageError, match=r"none\.yaml: no such file"):
        load_ladder(str(tmp_path / "none.yaml"))
    with pytest.raises(ConfigError, match=r"no row 'basline'\. Did you mean 'baseline'\? Known: .*'\+FFM'"):
        load_ladder("mfrnet").pick(["+FFM", "basline"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"train.epoch": 3}, ["row 'x': train.epoch", "Did you mean 'epochs'?"]),
        ({"train.epochs": "many"}, ["row 'x': train.epochs", "'many'"]),
        ({"model.ffm.enabled": True}, ["row 'x': model.ffm: unknown key"]),
        ({"seed": 3}, ["row 'x': seed cannot be a row's"]),
        ({"ablate.seeds": [3]}, ["row 'x': ablate.seeds cannot"]),
        ({"workdir": "/w"}, ["row 'x': workdir cannot"]),
    ],
)
def test_a_row_that_cannot_work_names_itself_and_the_field(change: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        apply(load(BASE), LadderRow(name="x", set=change))
    for word in words:
        assert word in str(caught.value)


# Optimiser groups of a module that a row takes away


def test_the_group_of_a_module_that_is_taken_away_goes_with_it_and_a_typing_mistake_stays() -> None:
    wrong = "train.optim.groups=[{match: '^(ffm|frm)', lr: 0.1}, {match: '^tower', lr: 0.2}]"
    base = load("mfrnet/synthetic", [wrong])
    used = used_groups(base)
    assert used == {"^(ffm|frm)"}
    both, off = load_ladder("mfrnet").pick(["+FRM", "baseline"])
    assert without_idle_groups(apply(base, both), used, "+FRM") == apply(base, both)
    fitted = without_idle_groups(apply(base, off), used, "baseline")
    assert [g.match for g in fitted.train.optim.groups] == ["^tower"]


def test_a_model_that_cannot_be_built_is_told_by_its_row() -> None:
    base = load("signal/synthetic", ["train.optim.groups=[{match: tower, lr: 0.1}]"])
    row = LadderRow(name="wide", set={"model.sim.k1": 1000})
    with pytest.raises(ConfigError, match=r"row 'wide': model\.sim\.k1 = 1000"):
        without_idle_groups(apply(base, row), {"tower"}, row.name)


def test_a_model_without_a_ladder_of_its_own_is_told_what_to_set() -> None:
    with pytest.raises(
        UsageError, match=r"^ablate\.ladder: baseline has no ladder of its own; set it to .*mfrnet"
    ):
        row_configs(load("baseline/synthetic"))


# Shipped ladders


def rows_of(name: str) -> list[str]:
    return [row.name for row in load_ladder(name).rows]


PAPER = {"flexireid": "cuhk-pedes", "mixer": "sysu-mm01"}
"""A public set that a ladder's system has a preset for, when it is not RGBNT201."""
SHIPPED = [
    (ladder, f"{ladder}/{data}", row)
    for ladder in ladders()
    for data in ("synthetic", PAPER.get(ladder, "rgbnt201"))
    for row in rows_of(ladder)
]
CONCATENATED = [ladder for ladder in ladders() if rows_of(ladder)[0] == "baseline"]


def resolved(preset: str, ladder: str, row: str) -> Config:
    base = load(preset)
    (found,) = load_ladder(ladder).pick([row])
    return without_idle_groups(apply(base, found), used_groups(base), row)


def counts(config: Config) -> dict[str, Any]:
    data = config.data
    known = PUBLISHED.get(data.name, (10, 4))
    with torch.device("meta"):
        model = build_model(config.model, ModelContext(*known, data.height, data.width, data.modalities))
    return parameter_counts(model)


def test_the_ladders_of_the_papers_are_shipped() -> None:
    assert {"flexireid", "mfrnet", "mixer", "signal", "stmi"} <= set(ladders())
    assert rows_of("flexireid")[0] == "zero-shot CLIP"
    assert rows_of("mfrnet")[:4] == ["baseline", "+FFM", "+FRM", "+FFM+FRM"]
    assert rows_of("signal")[:4] == ["baseline", "+SIM", "+SIM+GAM", "+SIM+GAM+LAM"]


@pytest.mark.parametrize(("ladder", "preset", "row"), SHIPPED)
def test_every_shipped_row_makes_a_model_and_its_optimiser(ladder: str, preset: str, row: str) -> None:
    config = resolved(preset, ladder, row)
    optimizer = build_optimizer(untrained_model(config), config.train.optim)
    assert sum(len(group["params"]) for group in optimizer.param_groups) > 0


@pytest.mark.parametrize("data", ["synthetic", "rgbnt201"])
@pytest.mark.parametrize("ladder", CONCATENATED)
def test_the_first_row_is_the_concatenated_baseline_to_the_parameter(ladder: str, data: str) -> None:
    first = counts(resolved(f"{ladder}/{data}", ladder, "baseline"))
    plain = counts(load(f"baseline/{data}", ["model.weights=random"]))
    assert first["total"] == plain["total"]
    assert first["trainable"] == plain["trainable"]


def test_each_rung_of_the_papers_ladders_adds_its_module() -> None:
    def total(ladder: str, row: str) -> int:
        return int(counts(resolved(f"{ladder}/rgbnt201", ladder, row))["total"])

    base, ffm, frm, both = (total("mfrnet", row) for row in rows_of("mfrnet")[:4])
    assert base < ffm and base < frm
    assert both - frm == ffm - base  # FFM and FRM are apart
    assert both == 96_459_273
    plain, sim, gam, lam = (total("signal", row) for row in rows_of("signal")[:4])
    assert (gam - sim, lam) == (1, 90_381_313)  # a temperature; everything
    assert plain < sim < lam
    assert total("mfrnet", "both, dead experts") == total("mfrnet", "both, shared experts") < both
