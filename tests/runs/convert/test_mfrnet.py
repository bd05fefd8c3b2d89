"""Public MFRNet checkpoints become models of equal outputs, with their shared experts or with copies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from reid.models.mfrnet.model import Model
from reid.runs.convert.folder import PreparedRun, prepare, write
from reid.runs.run import load_run
from tests.support.models.public_checkpoints import (
    CAMERAS,
    CLASSES,
    MFRNET,
    batch,
    config_of,
    embed,
    merged,
    public_mfrnet,
    saved,
    tiny_mfrnet,
)

DROPLESS: dict[str, Any] = {"ffm": {"capacity": None}, "frm": {"capacity": None}}
DISTINCT: dict[str, Any] = {
    "ffm": {"capacity": None, "shared": False},
    "frm": {"capacity": None, "shared": False},
}


def prepared(state: dict[str, Tensor], folder: Path, suffix: str = ".pth", **fields: Any) -> PreparedRun:
    file = saved(state, folder / f"public{suffix}")
    return prepare(config_of("mfrnet", merged(MFRNET, fields), folder / "work"), file)


def reopened(state: dict[str, Tensor], folder: Path, suffix: str = ".pth", **fields: Any) -> Model:
    """The model of the run folder that the checkpoint was converted into."""
    run = load_run(write(prepared(state, folder, suffix, **fields))[0].uri)
    assert isinstance(run.model, Model)
    return run.model


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_the_converted_run_embeds_exactly_as_the_original(tmp_path: Path, suffix: str) -> None:
    original = tiny_mfrnet()
    run = reopened(public_mfrnet(original), tmp_path, suffix)
    for given in (batch(), batch(missing=[1]), batch(missing=[0, 1, 2, 3]), batch(2)):
        assert torch.equal(embed(run, given), embed(original, given))
    for name, tensor in original.state_dict().items():
        assert torch.equal(run.state_dict()[name], tensor), name


def test_a_single_row_still_takes_the_ffn_that_mixtures_replace(tmp_path: Path) -> None:
    """Public MFRNet skips its mixtures there, so that the last block's FFN is in its checkpoints."""
    original = tiny_mfrnet()
    state = public_mfrnet(original)
    alone = batch(1)
    assert torch.equal(embed(reopened(state, tmp_path), alone), embed(original, alone))
    state["BACKBONE.base.transformer.resblocks.2.mlp.c_proj.bias"][:8] += 1
    assert not torch.allclose(embed(reopened(state, tmp_path), alone), embed(original, alone), atol=1e-3)


def test_distinct_experts_are_copies_with_equal_outputs(tmp_path: Path) -> None:
    original = tiny_mfrnet(**DROPLESS)
    run = reopened(public_mfrnet(original), tmp_path, **DISTINCT)
    for given in (batch(), batch(missing=[1, 2])):
        assert torch.allclose(embed(run, given), embed(original, given), atol=1e-6)
    state, shared = run.state_dict(), original.state_dict()
    for name, experts in (("ffm.generators.1", 3), ("frm.2", 6)):
        for part in ("down", "down_bias", "up", "up_bias"):
            copies = state[f"{name}.experts.{part}"]
            assert len(copies) == experts
            assert all(torch.equal(one, shared[f"{name}.experts.{part}"][0]) for one in copies)


@pytest.mark.parametrize(
    "suffixes",
    [
        ("_r", "_n", "_t"),
        ("_R", "_N", "_T"),
        ("_rgb", "_ni", "_ti"),
        ("_RGB", "_NIR", "_TIR"),
        ("_1", "_2", "_3"),
        (".0", ".1", ".2"),
    ],
)
def test_heads_of_each_modality_and_reductions_find_their_places(
    tmp_path: Path, suffixes: tuple[str, ...]
) -> None:
    fields: dict[str, Any] = {"heads": "each", "global_local": True}
    original = tiny_mfrnet(**fields)
    run = reopened(public_mfrnet(original, suffixes), tmp_path, **fields)
    assert torch.equal(embed(run, batch()), embed(original, batch()))
    for name, tensor in original.state_dict().items():
        assert torch.equal(run.state_dict()[name], tensor), name


def test_counts_come_from_the_checkpoint_and_what_is_left_out_is_listed(tmp_path: Path) -> None:
    found = prepared(public_mfrnet(tiny_mfrnet()), tmp_path)
    summary = found.summary
    assert (summary["identities"], summary["cameras"]) == (CLASSES, CAMERAS)
    assert summary["mapped"] == len(found.model.state_dict())
    # Two unused mixtures of eight tensors, and the counts of all three.
    assert [rule["count"] for rule in summary["ignored"]] == [2 * 9, 1]
    assert summary["tensors"] == summary["mapped"] + 2 * 9 + 1


def test_without_the_bypass_the_replaced_ffn_is_left_out(tmp_path: Path) -> None:
    found = prepared(public_mfrnet(tiny_mfrnet()), tmp_path, official={"bypass_single": False})
    assert [rule["count"] for rule in found.summary["ignored"]] == [2 * 9, 1, 4]
    assert not any("resblocks.2.mlp" in name for name in found.model.state_dict())


def test_zero_experts_of_the_public_code_are_told(tmp_path: Path) -> None:
    state = public_mfrnet(tiny_mfrnet())
    (alive,) = prepared(state, tmp_path).summary["remarks"]
    assert "not zero" in alive
    for name, tensor in state.items():
        if ".experts.conv" in name:
            tensor.zero_()
    (dead,) = prepared(state, tmp_path).summary["remarks"]
    assert "ALL ZERO in gfmoe, gfmoe_2, resblocks.2.smoe" in dead
    state["BACKBONE.base.gfmoe.experts.conv_1.weight"] += 0.1
    (some,) = prepared(state, tmp_path).summary["remarks"]
    assert "ALL ZERO in gfmoe_2, resblocks.2.smoe (gfmoe: not zero)" in some


def test_a_trained_last_bias_does_not_make_experts_alive(tmp_path: Path) -> None:
    state = public_mfrnet(tiny_mfrnet())
    for name, tensor in state.items():
        if ".experts.conv" in name and not name.endswith(("conv_2.bias", "conv_B.bias")):
            tensor.zero_()
    assert "ALL ZERO in gfmoe, gfmoe_2" in prepared(state, tmp_path).summary["remarks"][0]
