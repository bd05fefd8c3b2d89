"""What does not fit is one clear error; what is refused, and what names are known at real size."""

from __future__ import annotations

import json
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from reid.config import load
from reid.errors import ConfigError, StorageError, WeightsError
from reid.models.base import ModelContext
from reid.models.registry import build_model
from reid.runs.convert.base import convert, label_counts, system_of, systems
from reid.runs.convert.folder import PreparedRun, prepare
from tests.support.models import public_checkpoints
from tests.support.models.public_checkpoints import (
    blocks_expanded,
    config_of,
    saved,
    tiny_mfrnet,
    tiny_signal,
)
from tests.support.places import GOLDEN_FOLDER

GOLDEN = json.loads((GOLDEN_FOLDER / "public_checkpoints.json").read_text())
State = dict[str, Tensor]
Change = Callable[[State], None]
GENERATOR = "BACKBONE.base.gfmoe.experts.conv_1.weight"


@pytest.fixture
def state() -> State:
    """Of a tiny MFRNet with the official switches."""
    return public_checkpoints.public_mfrnet(tiny_mfrnet())


def converted(state: State, folder: Path, **fields: Any) -> PreparedRun:
    """Into the tiny MFRNet."""
    section = public_checkpoints.merged(public_checkpoints.MFRNET, fields)
    return prepare(config_of("mfrnet", section, folder / "work"), saved(state, folder / "public.pth"))


def complaint(state: State, folder: Path, **fields: Any) -> str:
    with pytest.raises(WeightsError) as caught:
        converted(state, folder, **fields)
    assert not (folder / "work").exists()
    return str(caught.value)


def test_the_names_of_data_parallel_training_are_understood(state: State, tmp_path: Path) -> None:
    wrapped = {f"module.{name}": tensor for name, tensor in state.items()}
    found, plain = converted(wrapped, tmp_path), converted(state, tmp_path)
    assert found.key == plain.key


@pytest.mark.parametrize("container", ["state_dict", "model", "net"])
@pytest.mark.parametrize("before", ["", "module._orig_mod.", "model."])
def test_what_training_scripts_wrap_around_is_taken_off(
    container: str, before: str, state: State, tmp_path: Path
) -> None:
    section = public_checkpoints.merged(public_checkpoints.MFRNET, {})
    config = config_of("mfrnet", section, tmp_path / "work")
    path = tmp_path / "wrapped.pth"
    torch.save([{container: {before + k: v for k, v in state.items()}, "epoch": 60}], path)
    assert prepare(config, str(path)).key == converted(state, tmp_path).key


def test_a_download_that_is_no_checkpoint_is_told_as_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "public.pth"
    path.write_text("<!doctype html><title>Quota exceeded</title>")
    with pytest.raises(WeightsError, match=r"public\.pth: an HTML page \('Quota exceeded'\)"):
        prepare(config_of("mfrnet", public_checkpoints.MFRNET, tmp_path), str(path))


def test_a_network_of_another_kind_is_named(tmp_path: Path) -> None:
    told = complaint({"layer1.0.conv1.weight": torch.zeros(1)}, tmp_path)
    assert "begin with BACKBONE. The file holds a ResNet of torchvision's names" in told


def test_half_precision_is_widened(state: State, tmp_path: Path) -> None:
    state["BACKBONE.base.proj"] = state["BACKBONE.base.proj"].half()
    tensor = converted(state, tmp_path).model.state_dict()["image_tower.visual.proj"]
    assert tensor.dtype == torch.float32
    assert torch.equal(tensor, state["BACKBONE.base.proj"].float())


def test_a_wrong_shape_names_both_shapes_and_the_remedy(state: State, tmp_path: Path) -> None:
    state[GENERATOR] = torch.zeros(11, 32, 1)
    told = complaint(state, tmp_path)
    assert "1 of another shape." in told.splitlines()[0] and str(tmp_path / "public.pth") in told
    assert f"{GENERATOR} (11, 32, 1), for ffm.generators.0.experts.down (1, 12, 32)" in told
    assert "mfrnet/rgbnt201-official" in told and "model.tower" in told


def test_a_missing_tensor_names_what_it_was_for(state: State, tmp_path: Path) -> None:
    del state["BACKBONE.base.glw_TN.0.lw.bias"]
    told = complaint(state, tmp_path)
    assert "missing: BACKBONE.base.glw_TN.0.lw.bias, for ffm.weights.tir_to_nir.bias (1,)" in told


def test_an_unknown_tensor_is_an_error_too(state: State, tmp_path: Path) -> None:
    last = "BACKBONE.base.transformer.resblocks.2.smoe.experts.conv_C.weight"
    state |= {"BACKBONE.base.adapter.weight": torch.zeros(3, 2), last: torch.zeros(1)}
    told = complaint(state, tmp_path)
    assert "unknown: BACKBONE.base.adapter.weight (3, 2)\n" in told
    assert f"unknown: {last} (1,)\n" in told


def test_all_misfits_are_told_at_once_and_not_at_length(state: State, tmp_path: Path) -> None:
    state[GENERATOR] = torch.zeros(11, 32, 1)
    state["what.is.this"] = torch.zeros(2)
    state = {name: tensor for name, tensor in state.items() if ".resblocks.1.attn" not in name}
    state |= {f"more.{i}": torch.zeros(1) for i in range(30)}
    told = complaint(state, tmp_path)
    assert told.splitlines()[0].endswith("of its tensors 1 of another shape, 4 missing, 31 unknown.")
    assert "unknown: 26 more" in told
    assert len(told.splitlines()) < 15


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"ffm": {"enabled": False}}, ("BACKBONE.base.gfmoe.", "which is off")),
        ({"frm": {"enabled": False}}, ("resblocks.2.smoe.experts.conv_A", "which is off")),
        ({"frm": {"layers": [1]}}, ("frm.1.", "MFRNet has no such tensor")),
        ({"camera_embedding": False}, ("BACKBONE.cv_embed (3, 1, 32), for class_bias.camera", "off")),
        ({"modality_embedding": True}, ("class_bias.kind", "MFRNet has no such tensor")),
        ({"heads": "each"}, ("missing: bottleneck_r.weight", "model.heads=joint")),
        ({"global_local": True}, ("missing: rgb_reduce.0.weight", "model.global_local")),
        ({"ffm": {"experts": 4}}, ("gfmoe.gates.0.sim_matrix (8, 3)", "scorer.directions (8, 4)")),
    ],
)
def test_a_switch_that_the_checkpoint_was_not_trained_with_is_an_error(
    state: State, tmp_path: Path, fields: dict[str, Any], names: tuple[str, str]
) -> None:
    told = complaint(state, tmp_path, **fields)
    for name in names:
        assert name in told


def test_heads_of_each_modality_in_a_joint_model_are_an_error_with_a_hint(tmp_path: Path) -> None:
    told = complaint(public_checkpoints.public_mfrnet(tiny_mfrnet(heads="each")), tmp_path)
    assert "unknown: bottleneck_r.weight" in told and "model.heads=each" in told


def test_two_heads_of_one_modality_are_ambiguous(tmp_path: Path) -> None:
    state = public_checkpoints.public_mfrnet(tiny_mfrnet(heads="each"))
    state["classifier_rgb.weight"] = state["classifier_r.weight"]
    told = complaint(state, tmp_path, heads="each")
    assert "head of rgb: classifier_r or classifier_rgb?" in told


def test_heads_of_unknown_spelling_are_not_guessed(tmp_path: Path) -> None:
    state = public_checkpoints.public_mfrnet(tiny_mfrnet(heads="each"), ("_x", "_y", "_z"))
    told = complaint(state, tmp_path, heads="each")
    assert "missing: bottleneck_r.weight" in told and "unknown: bottleneck_x.weight" in told


def test_another_systems_checkpoint_is_told_by_its_name(tmp_path: Path) -> None:
    told = complaint(public_checkpoints.public_signal(tiny_signal()), tmp_path)
    assert "not a checkpoint of MFRNet" in told and "Signal's: try --preset signal/rgbnt201-official" in told


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("visual.proj", "model.weights=<file>"),
        ("image_tower.visual.proj", "our own names already"),
        ("backbone.layer1.weight", "MFRNet's begin with BACKBONE."),
    ],
)
def test_a_file_of_something_else_gets_a_hint(tmp_path: Path, name: str, hint: str) -> None:
    assert hint in complaint({name: torch.zeros(2)}, tmp_path)


def test_a_code_base_of_the_same_line_gets_a_hint(state: State, tmp_path: Path) -> None:
    other = {k: v for k, v in state.items() if "moe" not in k and "glw" not in k}
    assert "no generators (gfmoe)" in complaint(other, tmp_path)


def test_a_checkpoint_without_heads_or_with_several_sets_counts_is_refused(
    state: State, tmp_path: Path
) -> None:
    headless = {k: v for k, v in state.items() if not k.startswith("classifier")}
    assert "no classifier" in complaint(headless, tmp_path)
    mixed = state | {"classifier_x.weight": torch.zeros(9, 4)}
    assert "classifiers of 5, 9 identities" in complaint(mixed, tmp_path)


class Stowaway:
    """What a pickled checkpoint could bring along."""


def test_a_pickled_object_is_refused_without_being_run(state: State, tmp_path: Path) -> None:
    path = tmp_path / "public.pth"
    torch.save({**state, "extra": Stowaway()}, path)
    with pytest.raises(WeightsError, match=r"public\.pth: not a plain state dict.*safetensors"):
        prepare(config_of("mfrnet", public_checkpoints.MFRNET, tmp_path), str(path))


def test_a_file_without_named_tensors_or_without_a_file_is_an_error(tmp_path: Path) -> None:
    assert "no tensors by name" in complaint({}, tmp_path)
    with pytest.raises(StorageError, match="no such file"):
        prepare(config_of("mfrnet", public_checkpoints.MFRNET, tmp_path), str(tmp_path / "none.pth"))


def test_a_model_without_public_checkpoints_says_which_have_some() -> None:
    assert set(systems()) == {"mfrnet", "signal"}
    with pytest.raises(ConfigError, match=r"model\.name: baseline has no public.*mfrnet, signal"):
        system_of("baseline")


@pytest.mark.parametrize(("name", "make"), [("mfrnet", tiny_mfrnet), ("signal", tiny_signal)])
def test_the_tiny_checkpoints_have_the_public_names(name: str, make: Callable[[], Any]) -> None:
    made = getattr(public_checkpoints, f"public_{name}")(make())
    assert sorted(made) == sorted(blocks_expanded(list(GOLDEN[name]["tensors"]), 3))


@pytest.mark.parametrize("name", ["mfrnet", "signal"])
def test_at_real_size_every_public_tensor_has_its_place(name: str) -> None:
    """Shapes only: neither the model nor the checkpoint takes any memory."""
    tensors, blocks = GOLDEN[name]["tensors"], GOLDEN["blocks"]
    state = {
        key: torch.empty(shape, device="meta")
        for template, shape in tensors.items()
        for key in blocks_expanded([template], blocks)
    }
    counted = [t.shape for key, t in state.items() if key.rsplit(".")[-1] not in GOLDEN["buffers"]]
    assert sum(prod(shape) for shape in counted) == GOLDEN[name]["parameters"]
    config, system = load(f"{name}/rgbnt201-official"), system_of(name)
    identities, cameras = label_counts(state, system, "public")
    assert (identities, cameras) == (171, 4)
    data = config.data
    with torch.device("meta"):
        context = ModelContext(identities, cameras, data.height, data.width, data.modalities)
        model = build_model(config.model, context)
    found = convert(state, model, system)
    wanted = model.state_dict()
    assert {k: v.shape for k, v in found.state.items()} == {k: v.shape for k, v in wanted.items()}
    left_out = sum(rule.count for rule in found.ignored)
    assert left_out == len(state) - len(wanted)
    assert left_out == (11 * 9 + 1 if name == "mfrnet" else 0)  # other blocks' mixtures; a count
