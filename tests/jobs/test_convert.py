"""`python -m jobs.convert`, and other verbs on the run that it writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from jobs import convert, evaluate, index
from reid.modality import CAMERA
from reid.runs.run import load_run
from tests.support.models.public_checkpoints import (
    CLASSES,
    MFRNET,
    batch,
    config_of,
    embed,
    public_mfrnet,
    public_signal,
    saved,
    tiny_mfrnet,
    tiny_signal,
)
from tests.support.sets.shards import make_identities, make_shards
from tests.support.verbs import Call


@pytest.fixture
def given(tmp_path: Path) -> tuple[str, ...]:
    """Options that name a configuration and a checkpoint."""
    tree = config_of("mfrnet", MFRNET, tmp_path / "work").model_dump(mode="json")
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(tree))
    checkpoint = saved(public_mfrnet(tiny_mfrnet()), tmp_path / "best.pth")
    return ("--config", str(tmp_path / "tiny.yaml"), "--checkpoint", checkpoint)


def test_converting_prints_the_run_folder_and_what_was_left_out(
    call: Call, given: tuple[str, ...], tmp_path: Path
) -> None:
    outcome = call(convert.convert, *given)
    assert (outcome.code, outcome.err) == (0, "")
    uri, *lines = outcome.out.splitlines()
    assert Path(uri).parent == tmp_path / "work" / "train" / "tiny-mfrnet"
    assert "converted: " in lines[0] and f"{CLASSES} identities, 3 cameras" in lines[0]
    assert "placeholder labels" in lines[0]
    assert any("left out: 18 (unused mixtures" in line for line in lines)
    assert "not zero" in lines[-1]
    original = tiny_mfrnet()
    assert embed(load_run(uri).model, batch()).equal(embed(original, batch()))
    assert "already converted: " in call(convert.convert, *given).out


def test_to_and_json_and_overrides(call: Call, given: tuple[str, ...], tmp_path: Path) -> None:
    place = str(tmp_path / "mine")
    distinct = ("model.ffm.shared=false", "model.frm.shared=false")
    tree = json.loads(call(convert.convert, *distinct, *given, "--to", place, "--json").out)
    assert (tree["run"], tree["written"]) == (place, True)
    assert tree["info"]["converted"]["mapped"] == len(load_run(place).model.state_dict())
    assert len(load_run(place).model.get_parameter("ffm.generators.0.experts.down")) == 3


def test_a_dry_run_tells_the_mapping_and_writes_nothing(
    call: Call, given: tuple[str, ...], tmp_path: Path
) -> None:
    before = sorted(tmp_path.rglob("*"))
    tree = json.loads(call(convert.convert, *given, "--dry-run", "--json").out)
    assert tree["config"]["name"] == "tiny-mfrnet"
    summary = tree["convert"]
    ignored = sum(rule["count"] for rule in summary["ignored"])
    assert summary["mapped"] + ignored == summary["tensors"] > 50
    assert sorted(tmp_path.rglob("*")) == before


def test_a_checkpoint_of_another_system_exits_1_with_its_preset(
    call: Call, given: tuple[str, ...], tmp_path: Path
) -> None:
    other = saved(public_signal(tiny_signal()), tmp_path / "signal.safetensors")
    outcome = call(convert.convert, *given[:2], "--checkpoint", other)
    assert (outcome.code, outcome.out) == (1, "")
    assert "signal.safetensors" in outcome.err and "--preset signal/rgbnt201-official" in outcome.err


def test_a_system_without_public_checkpoints_exits_2(call: Call, given: tuple[str, ...]) -> None:
    outcome = call(convert.convert, "--preset", "baseline/synthetic", *given[2:])
    assert outcome.code == 2
    assert "can be converted: mfrnet, signal" in outcome.err


def test_a_checkpoint_must_be_given(call: Call, given: tuple[str, ...]) -> None:
    outcome = call(convert.convert, *given[:2])
    assert outcome.code == 2
    assert "--checkpoint" in outcome.err


def test_other_verbs_take_the_converted_run(call: Call, given: tuple[str, ...], tmp_path: Path) -> None:
    """Its labels are placeholders; retrieval needs none."""
    test = make_identities([3, 3, 3], CAMERA, split="test")
    shards = make_shards(tmp_path / "shards", [test])
    uri = call(convert.convert, *given).out.splitlines()[0]
    options = (*given[:2], f"run={uri}", f"data.shards={shards.root}", "evaluate.actors=0")
    measured = call(evaluate.evaluate, *options, "evaluate.protocol=all", "--json")
    assert measured.code == 0, measured.err
    assert len(json.loads(measured.out)["results"]) == 7  # every subset of three cameras
    indexed = call(index.index, *options, "--json")
    assert indexed.code == 0, indexed.err
    assert json.loads(indexed.out)["added"] == 9
