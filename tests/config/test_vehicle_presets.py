"""The baselines of the vehicle sets: the papers' input, batch and warm-up, and the published head."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reid.config import load
from reid.evaluate.protocols.protocol import get_protocol
from reid.runs.describe import describe_config
from tests.support.places import GOLDEN_FOLDER

GOLDEN = json.loads((GOLDEN_FOLDER / "vehicle_presets.json").read_text())
NAMES = sorted(GOLDEN["sets"])
TINY = "model.tower={arch: null, patch: 8, width: 32, layers: 1, heads: 2, dim: 16}"


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_says_what_the_papers_say(name: str) -> None:
    config, expected = load(f"baseline/{name}"), GOLDEN["sets"][name]
    assert (config.data.name, config.data.reader.name) == (name, name)
    assert [config.data.height, config.data.width] == expected["size"]
    assert [config.train.batch.identities, config.train.batch.instances] == expected["batch"]
    assert config.train.optim.warmup_epochs == expected["warmup_epochs"]
    assert get_protocol(config.evaluate.protocol).name == expected["protocol"]
    assert config.train.val.protocol == config.evaluate.protocol


@pytest.mark.parametrize("name", NAMES)
def test_all_else_is_as_on_the_person_set(name: str) -> None:
    ours, theirs = (load(f"baseline/{n}").model_dump(mode="json") for n in (name, "rgbnt201"))
    for tree in (ours, theirs):
        for section, keys in {
            "data": ("name", "reader", "height", "width"),
            "evaluate": ("protocol",),
        }.items():
            for key in keys:
                del tree[section][key]
        del tree["name"], tree["train"]["batch"], tree["train"]["optim"]["warmup_epochs"]
        del tree["train"]["val"]["protocol"]
    assert ours == theirs


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_is_described_without_data_for_the_published_identities(name: str, tmp_path: Path) -> None:
    found: dict[str, Any] = describe_config(load(f"baseline/{name}", [TINY, f"workdir={tmp_path}"]))
    identities, cameras = GOLDEN["sets"][name]["identities"], GOLDEN["sets"][name]["cameras"]
    assert (found["classes"], found["cameras"], found["dim"]) == (identities, cameras, 3 * 16)
    modules = found["parameters"]["by_module"]
    assert modules["head"] == 48 * identities + 2 * 48
    assert modules["class_bias"] == 32 * cameras
