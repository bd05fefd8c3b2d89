"""Configuration: mistakes are named with their remedy; equal content, equal fingerprint."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

import reid.config
from reid.config import Config, FixedRange, fingerprint, load, loading, merge, override
from reid.errors import ConfigError, UsageError
from reid.modality import Modality
from tests.support.places import ROOT

SMALL: dict[str, Any] = {
    "name": "small",
    "data": {
        "name": "rendered",
        "reader": {"name": "synthetic", "cameras": 3},
        "modalities": "sketch+rgb",
    },
    "model": {"name": "baseline", "fusion": "mean"},
}


@pytest.fixture
def small(tmp_path: Path) -> str:
    """A small configuration as a YAML file."""
    return write(tmp_path / "small.yaml", SMALL)


def write(path: Path, tree: dict[str, Any]) -> str:
    path.write_text(yaml.safe_dump(tree))
    return str(path)


def options(section: object) -> dict[str, Any]:
    """The fields of a plugin section, whose class is known only at run time."""
    return dict(vars(section))


# Reading


def test_reading_a_preset_leaves_the_function_that_lists_them() -> None:
    load("baseline/synthetic")
    assert "baseline/synthetic" in reid.config.presets()


def test_a_file_a_path_and_a_dict_say_the_same(small: str) -> None:
    assert load(small) == load(Path(small)) == load(SMALL)


def test_names_pick_the_fields_of_plugin_sections(small: str) -> None:
    config = load(small)
    assert options(config.model)["fusion"] == "mean"
    assert options(config.data.reader)["cameras"] == 3
    assert type(config.model).__module__ == "reid.models.baseline.model"
    assert type(config.data.reader).__module__ == "reid.data.readers.synthetic"


def test_a_bare_name_is_a_plugin_section_with_defaults() -> None:
    config = load(SMALL | {"model": "baseline"})
    assert config.model == load(SMALL | {"model": {"name": "baseline"}}).model


def test_modalities_are_canonical_however_spelled(small: str) -> None:
    assert load(small).data.modalities == (Modality.RGB, Modality.SKETCH)
    assert load(small, ["data.modalities=[sketch, rgb]"]) == load(small)


def test_loading_leaves_the_given_dict_alone() -> None:
    tree = deepcopy(SMALL)
    load(tree, ["data.reader.cameras=9", "model.fusion=concat", "train.optim.lr=1"])
    assert tree == SMALL


@pytest.mark.parametrize("text", ["- a list", "just text", ""])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"odd\.yaml: expected a mapping"):
        load(path)


def test_broken_yaml_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text("train: [")
    with pytest.raises(ConfigError, match=r"broken\.yaml: not valid YAML"):
        load(path)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(UsageError, match=r"absent\.yaml: no such config file"):
        load("absent.yaml")


# Mistakes


@pytest.mark.parametrize(
    ("change", "message"),
    [
        # An unknown key suggests the nearest at any depth.
        ("trian={}", r"trian: unknown key\. Did you mean 'train'\?"),
        ("train.epoch=3", r"train\.epoch: unknown key\. Did you mean 'epochs'\?"),
        ("train.optim.learning_rate=3", r"train\.optim\.learning_rate: unknown key\. .*\blr\b"),
        ("model.fussion=mean", r"model\.fussion: unknown key\. Did you mean 'fusion'\?"),
        ("data.reader.camera=2", r"data\.reader\.camera: unknown key\. Did you mean 'cameras'\?"),
        # A wrong type or value names the field and shows what was given.
        ("train.epochs=many", r"train\.epochs: .*integer.*'many'"),
        ("train.epochs=-1", r"train\.epochs: .*greater than or equal to 0.*-1"),
        ("train=3", r"train: .*3"),
        ("train.optim.name=sgd", r"train\.optim\.name: .*'adam' or 'adamw'.*'sgd'"),
        ("model.fusion=sum", r"model\.fusion: .*'concat' or 'mean'.*'sum'"),
        ("data.reader.cameras=0", r"data\.reader\.cameras: .*0"),
        # An unknown name suggests the nearest.
        ("model.name=baselin", r"model\.name: unknown 'baselin'\. Did you mean 'baseline'\?"),
        ("data.reader.name=sinthetic", r"data\.reader\.name: .* Did you mean 'synthetic'\?"),
        ("model={}", r"model\.name is missing\. Known: .*baseline"),
        ("data.reader=3", r"data\.reader\.name is missing\. Known: .*synthetic"),
        # Rules that follow the ranks.
        ("train.batch.identities=0", r"train\.batch\.identities: .*at least 1, or {per_rank: 8}.*0"),
        ("train.batch.identities=per_rank", r"train\.batch\.identities: .*{per_rank: 8}.*'per_rank'"),
        ("train.batch.identities={per_rank: 0}", r"train\.batch\.identities.*greater than or equal to 1"),
        ("train.optim.scale_lr=linear", r"train\.optim\.scale_lr_from: .*linear needs the P that"),
        ("train.optim.scale_lr_from=8", r"train\.optim\.scale_lr_from: without scale_lr it means nothing"),
        ("train.classifier.sharded=maybe", r"train\.classifier\.sharded.*'maybe'"),
        (
            "train={global_statistics: false, classifier: {sharded: true}}",
            r"train\.classifier: sharded: true",
        ),
        # The range of deep pictures: rules by modality.
        ("data.range=min_max", r"data\.range: give a rule for each modality .*tir: min_max.*'min_max'"),
        ("data.range.tri=min_max", r"data\.range: Unknown modality 'tri'\. Did you mean 'tir'"),
        ("data.range.text=min_max", r"data\.range: text is no picture; pictures: rgb\+nir\+tir"),
        ("data.range.tir=minmax", r"data\.range: tir: 'minmax' is none of percentile, min_max, {fixed:"),
        ("data.range.tir={fixed: [5]}", r"data\.range: tir: fixed takes two numbers, the lower one first"),
        ("data.range.tir={fixed: [9, 2]}", r"data\.range: tir: fixed takes two numbers, the lower one first"),
        ("data.range.tir={fixed: [0, .inf]}", r"data\.range: tir: {'fixed': \[0, inf\]} is none of"),
        ("data.range={tir: min_max, TIR: percentile}", r"data\.range: tir is given twice"),
        ("data.range.tir={fixd: [2, 9]}", r"data\.range: tir: {'fixd': \[2, 9\]} is none of"),
        ("data.fourth_band=ir", r"data\.fourth_band: .*'drop' or 'nir'.*'ir'"),
        # Overrides that are not overrides.
        ("train.epochs", r"'train\.epochs' is not of the form section\.field=value"),
        ("=3", r"'=3' is not of the form"),
        ("train.epochs=[", r"train\.epochs: '\[' is not valid YAML"),
        ("name.first=x", r"name\.first: 'name' is a value, not a section"),
    ],
)
def test_a_mistake_is_named_with_its_remedy(small: str, change: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load(small, [change])
    assert caught.value.exit_code == 2


def test_each_modality_may_have_its_range(small: str) -> None:
    data = load(small, ["data.range.tir={fixed: [27000, 31000.5]}", "data.range.nir=min_max"]).data
    assert data.range == {
        Modality.TIR: FixedRange(fixed=(27_000, 31_000.5)),
        Modality.NIR: "min_max",
    }
    assert data.sensors() == {"range": {"tir": {"fixed": [27_000, 31_000.5]}, "nir": "min_max"}}
    assert load(small).data.sensors() == {}


def test_all_mistakes_are_told_at_once(small: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(small, ["train.epochs=-1", "train.epoch=1", "serve.port=-1"])
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert [line.split(":")[0] for line in lines] == ["train.epochs", "train.epoch", "serve.port"]


def test_a_missing_field_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^name: missing"):
        load({k: v for k, v in SMALL.items() if k != "name"})


def test_an_unknown_modality_suggests_the_nearest(small: str) -> None:
    with pytest.raises(UsageError, match=r"'skech'.*Did you mean 'sketch'\?"):
        load(small, ["data.modalities=rgb+skech"])


def test_an_unknown_preset_suggests_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "presets", lambda: ["baseline/synthetic", "mfrnet/rgbnt201"])
    with pytest.raises(UsageError, match=r"'baseline/sintetic'\. Did you mean 'baseline/synthetic'"):
        load("baseline/sintetic")


# Overrides


def test_overrides_reach_every_depth_and_plugin_sections(small: str) -> None:
    config = load(
        small,
        ["seed=7", "train.optim.lr=0.5", "model.tower.layers=2", "data.reader.difficulty=1"],
    )
    assert config.seed == 7
    assert config.train.optim.lr == 0.5
    assert options(config.model)["tower"].layers == 2
    assert options(config.model)["fusion"] == "mean"
    assert options(config.data.reader)["difficulty"] == 1.0
    assert options(config.data.reader)["cameras"] == 3


def test_the_last_override_wins(small: str) -> None:
    assert load(small, ["seed=1", "seed=2"]).seed == 2


def test_values_are_yaml(small: str) -> None:
    config = load(
        small,
        ["run=null", "train.optim.clip_norm=1", "evaluate.subsets=[rgb, sketch->rgb]", "name=a=b"],
    )
    assert config.run is None
    assert config.train.optim.clip_norm == 1.0
    assert config.evaluate.subsets == ("rgb", "sketch->rgb")
    assert config.name == "a=b"


@pytest.mark.parametrize(("text", "value"), [("1e-3", 1e-3), ("5E-4", 5e-4), ("2.5e-2", 0.025)])
def test_numbers_without_a_point_are_numbers(small: str, text: str, value: float) -> None:
    assert load(small, [f"train.optim.lr={text}"]).train.optim.lr == value
    config = load(small, [f"tune.space={{train.optim.lr: {{loguniform: [{text}, 1]}}}}"])
    assert config.tune.space["train.optim.lr"]["loguniform"] == [value, 1]


def test_numbers_without_a_point_are_numbers_in_files_too(tmp_path: Path) -> None:
    path = tmp_path / "lr.yaml"
    path.write_text(yaml.safe_dump(SMALL) + "train: {optim: {lr: 1e-3}}\n")
    assert load(path).train.optim.lr == 1e-3


def test_another_model_by_override_keeps_no_field_of_the_first(small: str) -> None:
    config = load(small, ["model=baseline"])
    assert options(config.model)["fusion"] == "concat"


def test_override_validates_anew(small: str) -> None:
    config = load(small)
    changed = override(config, {"train.optim.lr": 1.0, "model.fusion": "concat"})
    assert changed.train.optim.lr == 1.0
    assert options(changed.model)["fusion"] == "concat"
    assert config == load(small)
    with pytest.raises(ConfigError, match=r"train\.epoch: unknown key"):
        override(config, {"train.epoch": 3})


# Inheritance


def test_extends_merges_deeply_and_the_own_keys_win(tmp_path: Path, small: str) -> None:
    top = {
        "extends": small,
        "name": "top",
        "train": {"optim": {"lr": 0.1}},
        "data": {"reader": {"cameras": 5}},
    }
    config = load(write(tmp_path / "top.yaml", top))
    assert config.name == "top"
    assert config.train.optim.lr == 0.1
    assert options(config.data.reader)["cameras"] == 5
    assert config.data.name == "rendered"
    assert options(config.model)["fusion"] == "mean"


def test_extends_goes_over_several_steps(tmp_path: Path, small: str) -> None:
    middle = write(tmp_path / "middle.yaml", {"extends": small, "seed": 1, "workdir": "a"})
    config = load(write(tmp_path / "top.yaml", {"extends": middle, "seed": 2}))
    assert (config.name, config.seed, config.workdir) == ("small", 2, "a")


def test_another_plugin_name_replaces_the_whole_section() -> None:
    base = {"model": {"name": "one", "a": 1}, "train": {"epochs": 1, "optim": {"name": "adam"}}}
    top = {"model": {"name": "two", "b": 2}, "train": {"optim": {"name": "adamw"}}}
    assert merge(base, top) == {
        "model": {"name": "two", "b": 2},
        "train": {"epochs": 1, "optim": {"name": "adamw"}},
    }
    assert merge(base, {"model": {"name": "one", "b": 2}})["model"] == {
        "name": "one",
        "a": 1,
        "b": 2,
    }
    assert base["model"] == {"name": "one", "a": 1}


# Identity


def test_equal_content_has_an_equal_fingerprint(small: str) -> None:
    turned = {key: SMALL[key] for key in reversed(SMALL)}
    spelled = load(turned, ["train.optim.lr=3.5e-4", "data.modalities=[rgb, sketch]"])
    assert fingerprint(spelled) == fingerprint(load(small))
    assert len(fingerprint(spelled)) == 12


def test_a_fingerprint_does_not_depend_on_the_process(small: str) -> None:
    # Sets and hashes are ordered anew in each process; paths of runs must not be.
    code = "import sys; from reid.config import *; print(fingerprint(load(sys.argv[1])))"
    printed = subprocess.run(
        [sys.executable, "-c", code, small],
        env=os.environ | {"PYTHONHASHSEED": "7"},
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    assert printed.strip() == fingerprint(load(small))


@pytest.mark.parametrize(
    "change",
    ["seed=1", "train.optim.lr=1e-3", "model.tower.layers=2", "data.reader.seed=1", "name=other"],
)
def test_any_change_changes_the_fingerprint(small: str, change: str) -> None:
    assert fingerprint(load(small, [change])) != fingerprint(load(small))


def test_fingerprints_take_sections_and_plain_values_in_order(small: str) -> None:
    config = load(small)
    assert fingerprint(config.model, "x") == fingerprint(config.model, "x")
    assert fingerprint(config.model, "x") != fingerprint("x", config.model)
    assert fingerprint("ab", "c") != fingerprint("a", "bc")


def test_sections_cannot_be_changed(small: str) -> None:
    config = load(small)
    for section, name in ((config, "seed"), (config.train.optim, "lr"), (config.model, "fusion")):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(section, name, 1)


def test_a_dump_is_json_and_loads_as_the_same_config(small: str) -> None:
    config = load(small, ["build.generate={nir: {generator: x, params: {a: 1, b: true, c: d}}}"])
    dumped = json.loads(json.dumps(config.model_dump(mode="json")))
    assert load(dumped) == config
    assert fingerprint(load(dumped)) == fingerprint(config)
    assert dumped["model"]["fusion"] == "mean", "a plugin's own fields belong to the dump"
    assert Config.model_validate(config) == config


# Presets


def test_every_shipped_preset_loads() -> None:
    for name in loading.presets():
        assert isinstance(load(name), Config), name
