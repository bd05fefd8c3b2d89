"""`--dry-run` prints a configuration file; `=full` all of it; what else is told stands in its comments."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from jobs import ablate, build, evaluate, index, search, serve, train, translate, tune
from reid.config import load, strict_yaml
from reid.config.sections.translate import TranslateConfig
from reid.runs.run import Run
from reid.train.translator.training import load_translate
from tests.support.tiny_configs import write_yaml
from tests.support.verbs import Call, Verb

VERBS = [build.build, train.train, evaluate.evaluate, tune.tune, index.index, serve.serve]
CHANGED = ("train.epochs=7", "name='1e-3'", "tune.space={train.optim.lr: {loguniform: [1e-5, 1e-3]}}")


def told(text: str, folder: Path) -> tuple[dict[str, Any], Path]:
    """What was printed, as YAML and as a file."""
    (folder / "told.yaml").write_text(text)
    tree = yaml.safe_load(text)
    assert isinstance(tree, dict)
    return tree, folder / "told.yaml"


@pytest.mark.parametrize("verb", VERBS)
def test_of_a_preset_only_what_differs_is_printed(call: Call, verb: Verb, tmp_path: Path) -> None:
    given = ("--preset", "baseline/synthetic", f"workdir={tmp_path / 'work'}", *CHANGED)
    outcome = call(verb, *given, "--dry-run")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith("# what differs from the preset baseline/synthetic; --dry-run=full")
    tree, file = told(outcome.out, tmp_path)
    assert tree["extends"] == "baseline/synthetic"
    assert tree["train"] == {"epochs": 7}
    assert set(tree) == {"extends", "workdir", "train", "name", "tune"}
    assert load(file) == load(given[1], given[2:])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["told.yaml"]


@pytest.mark.parametrize("verb", VERBS)
def test_full_prints_every_field(call: Call, verb: Verb, tmp_path: Path) -> None:
    given = ("--preset", "baseline/synthetic", f"workdir={tmp_path / 'work'}", *CHANGED)
    outcome = call(verb, *given, "--dry-run=full")
    tree, file = told(outcome.out, tmp_path)
    config = load(given[1], given[2:])
    assert outcome.out.startswith("# every field\n")
    assert strict_yaml.parse(outcome.out) == config.model_dump(mode="json")
    assert tree["train"]["optim"]["name"] == "adamw"  # a default
    assert load(file) == config


def test_a_file_that_extends_nothing_is_told_by_what_differs_from_the_defaults(
    call: Call, tmp_path: Path
) -> None:
    given = ("--config", write_yaml(tmp_path), "train.epochs=7")
    outcome = call(train.train, *given, "--dry-run")
    assert "# what differs from the defaults;" in outcome.out
    tree, file = told(outcome.out, tmp_path)
    assert tree["train"]["epochs"] == 7 and "val" not in tree["train"]
    assert tree["model"]["name"] == "baseline"
    assert load(file) == load(given[1], given[2:])


def test_a_file_that_extends_a_preset_by_another_file_is_told_by_the_preset(
    call: Call, tmp_path: Path
) -> None:
    (tmp_path / "base.yaml").write_text("extends: baseline/demo\nseed: 5\n")
    (tmp_path / "mine.yaml").write_text("extends: base.yaml\nname: mine\n")
    tree, file = told(call(train.train, "--config", str(tmp_path / "mine.yaml"), "--dry-run").out, tmp_path)
    assert tree == {"extends": "baseline/demo", "name": "mine", "seed": 5}
    assert load(file) == load(str(tmp_path / "mine.yaml"))


def test_what_extending_cannot_say_is_told_by_the_defaults(call: Call, tmp_path: Path) -> None:
    given = ("--preset", "baseline/demo", "tune.space={}", f"workdir={tmp_path}")
    tree, file = told(call(train.train, *given, "--dry-run").out, tmp_path)
    assert "extends" not in tree
    assert load(file) == load(given[1], given[2:])


def test_another_model_comes_as_a_whole(call: Call, tmp_path: Path) -> None:
    given = (
        "--preset",
        "mfrnet/synthetic",
        "model={name: baseline, id_weight: 0.125}",
        f"workdir={tmp_path}",
    )
    tree, file = told(call(train.train, *given, "--dry-run").out, tmp_path)
    assert tree["model"] == {"name": "baseline", "id_weight": 0.125}
    assert load(file) == load(given[1], given[2:])


def test_checks_and_plans_are_comments_and_json_has_them_as_keys(
    call: Call, tiny_run: Run, world: Path, tmp_path: Path
) -> None:
    given = ("--config", str(world / "tiny.yaml"))
    text = call(build.build, *given, "--dry-run").out
    comment = "\n".join(line.removeprefix("# ") for line in text.splitlines()[1:] if line.startswith("#"))
    plan = yaml.safe_load(comment)["build"]
    assert plan["rows"] == {"train": 16, "test": 16}
    assert plan["planned"] == plan["finished"] == 4
    tree = json.loads(call(build.build, *given, "--dry-run", "--json").out)
    assert tree["build"] == plan
    assert tree["config"] == load(given[1]).model_dump(mode="json")
    ladder = call(ablate.ablate, "--preset", "mfrnet/synthetic", f"workdir={tmp_path}", "--dry-run").out
    assert "# ablate:\n#   ladder: mfrnet\n" in ladder
    assert told(ladder, tmp_path)[0]["extends"] == "mfrnet/synthetic"


def test_a_translator_has_a_configuration_of_its_own(call: Call, tmp_path: Path) -> None:
    given = ("pairs=/data/pairs", "out=/data/out", "target=tir")
    tree, file = told(call(translate.translate, *given, "--dry-run").out, tmp_path)
    assert tree == {"pairs": "/data/pairs", "out": "/data/out", "target": "tir"}
    assert load_translate(str(file)) == load_translate(None, given)
    full, _ = told(call(translate.translate, *given, "--dry-run=full").out, tmp_path)
    assert set(full) == set(TranslateConfig.model_fields)


@pytest.mark.parametrize("wrong", ["--dry-run=foo", "--dry-run="])
def test_another_value_exits_2(call: Call, wrong: str) -> None:
    outcome = call(train.train, "--preset", "baseline/synthetic", wrong)
    assert (outcome.code, outcome.out) == (2, "")
    assert wrong in outcome.err and "--dry-run=full" in outcome.err


def test_a_verb_without_a_dry_run_says_so(call: Call) -> None:
    outcome = call(search.search, "--preset", "baseline/synthetic", "--dry-run")
    assert outcome.code == 2 and "--dry-run" in outcome.err
