"""MFRNet's presets: the reference parameters and compute, and what the official one changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from reid.config import load
from reid.modality import CAMERA
from reid.models.base import ModelContext, ReIDModel
from reid.models.registry import build_model
from reid.nn.parameters import parameter_counts
from reid.nn.towers.clip import ImageTower, ImageTowerConfig, resize_positions
from reid.runs.describe import PUBLISHED, gmac
from reid.train.optimizer import build_optimizer
from tests.support.places import GOLDEN_FOLDER

GOLDEN = json.loads((GOLDEN_FOLDER / "moe.json").read_text())
PARTS = {
    "presets": [],
    "frm_only": ["model.ffm.enabled=false"],
    "ffm_only": ["model.frm.enabled=false"],
    "neither": ["model.ffm.enabled=false", "model.frm.enabled=false"],
    "both": [],
}
OFFICIAL: dict[str, dict[str, Any]] = {
    "ffm": {"shared": True, "capacity": 1.0},
    "frm": {"shared": True, "capacity": 1.0},
    "balance": {"ffm_calls": "last", "ffm_factor": 12.0},
    "official": {"bypass_single": True, "raw_alone": True},
}


def full_size(preset: str, overrides: list[str]) -> ReIDModel:
    config = load(preset, overrides)
    classes, cameras = PUBLISHED[config.data.name]
    data = config.data
    return build_model(config.model, ModelContext(classes, cameras, data.height, data.width, data.modalities))


@pytest.mark.parametrize(
    ("kind", "preset"), [(kind, preset) for kind, row in GOLDEN["parameters"].items() for preset in row]
)
def test_presets_have_the_reference_number_of_parameters(kind: str, preset: str) -> None:
    with torch.device("meta"):
        model = full_size(preset, PARTS[kind])
    counts = parameter_counts(model)
    assert counts["total"] == GOLDEN["parameters"][kind][preset]
    frozen = sum(p.numel() for n, p in model.named_parameters() if n.endswith("norm.bias") and "heads" in n)
    assert counts["trainable"] == counts["total"] - frozen


@pytest.mark.parametrize(
    "kind", [pytest.param(k, marks=[] if k == "both" else pytest.mark.slow) for k in GOLDEN["gmac"]]
)
def test_the_whole_architecture_costs_the_reference_multiplications(kind: str) -> None:
    model = full_size("mfrnet/rgbnt201", PARTS[kind])
    found = gmac(model, CAMERA, 256, 128, prune=False)
    assert found == pytest.approx(GOLDEN["gmac"][kind], abs=0.005)


def test_the_official_preset_is_the_default_with_its_habits() -> None:
    official, ours = (load(f"mfrnet/rgbnt201{s}").model_dump(mode="json") for s in ("-official", ""))
    for section, changes in OFFICIAL.items():
        assert {k: official["model"][section][k] for k in changes} == changes
        assert not any(ours["model"][section][k] == v for k, v in changes.items())
        for key in changes:
            del official["model"][section][key], ours["model"][section][key]
    assert official["model"] == ours["model"]
    assert (official["train"]["optim"]["noise"], official["train"]["optim"]["per"]) == (0.67, "epoch")


@pytest.mark.parametrize("name", ["rgbnt201", "rgbnt100", "msvr310"])
def test_a_preset_trains_the_mixtures_fast_and_the_tower_slowly(name: str) -> None:
    config = load(f"mfrnet/{name}")
    with torch.device("meta"):
        model = full_size(f"mfrnet/{name}", [])
    groups = build_optimizer(model, config.train.optim).param_groups
    rates = {id(p): group["peak_lr"] for group in groups for p in group["params"]}
    for parameter, tensor in model.named_parameters():
        part = parameter.split(".")[0]
        if part in ("ffm", "frm"):
            assert rates[id(tensor)] == 3.5e-4, parameter
        elif part == "image_tower":
            assert rates[id(tensor)] == 5e-6, parameter
        elif tensor.requires_grad:
            assert rates[id(tensor)] == (7e-4 if parameter.endswith("bias") else 3.5e-4), parameter


def test_each_set_has_the_heads_and_features_that_its_paper_row_had() -> None:
    rows: dict[str, Any] = {
        name: load(f"mfrnet/{name}").model for name in ("rgbnt201", "rgbnt100", "msvr310")
    }
    assert {n: m.heads for n, m in rows.items()} == {
        "rgbnt201": "joint",
        "rgbnt100": "each",
        "msvr310": "each",
    }
    assert [n for n, m in rows.items() if m.global_local] == ["rgbnt100"]
    assert {n: load(f"mfrnet/{n}").train.epochs for n in rows} == {
        "rgbnt201": 45,
        "rgbnt100": 45,
        "msvr310": 50,
    }


@pytest.mark.parametrize("spare", [False, True])
def test_clip_weights_fill_the_tower_but_for_the_ffn_that_the_mixture_replaces(
    spare: bool, tmp_path: Path
) -> None:
    sizes = "{arch: null, patch: 8, width: 32, layers: 2, heads: 2, dim: 16}"
    tower = ImageTower(ImageTowerConfig(arch=None, patch=8, width=32, layers=2, heads=2, dim=16), 32, 16)
    given = {f"visual.{name}": tensor for name, tensor in tower.visual.state_dict().items()}
    square = torch.randn(1 + 4 * 4, 32)
    path = tmp_path / "clip.safetensors"
    save_file({**given, "visual.positional_embedding": square}, path)
    overrides = [f"model.tower={sizes}", f"model.weights={path}", "data.height=32", "data.width=16"]
    model = full_size("mfrnet/rgbnt201", [*overrides, f"model.official.bypass_single={spare}"])
    experts = {n: t.clone() for n, t in model.state_dict().items() if ".experts." in n}
    model.load_pretrained()
    loaded = {n.removeprefix("image_tower."): t for n, t in model.state_dict().items() if "image_tower" in n}
    replaced = {n for n in given if "resblocks.1.mlp" in n}
    assert given.keys() - loaded.keys() == (set() if spare else replaced)
    position = loaded.pop("visual.positional_embedding")
    assert torch.equal(position, resize_positions(square, (4, 2)))
    assert all(torch.equal(t, given[n]) for n, t in loaded.items())
    assert all(torch.equal(t, model.state_dict()[n]) for n, t in experts.items())  # never zeroed
    assert all(t.any() for n, t in experts.items() if n.endswith((".down", ".up")))
