"""Public Signal checkpoints become models of equal outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from reid.errors import WeightsError
from reid.models.signal.model import Model
from reid.runs.convert.folder import PreparedRun, prepare, write
from reid.runs.run import load_run
from tests.support.models.public_checkpoints import (
    SIGNAL,
    batch,
    config_of,
    embed,
    merged,
    public_signal,
    saved,
    tiny_signal,
)


def prepared(state: dict[str, Tensor], folder: Path, suffix: str = ".pth", **fields: Any) -> PreparedRun:
    file = saved(state, folder / f"public{suffix}")
    return prepare(config_of("signal", merged(SIGNAL, fields), folder / "work"), file)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("heads", ["joint", "each"])
def test_the_converted_run_embeds_exactly_as_the_original(tmp_path: Path, suffix: str, heads: str) -> None:
    original = tiny_signal(heads=heads)
    folder, _ = write(prepared(public_signal(original), tmp_path, suffix, heads=heads))
    run = load_run(folder.uri)
    assert isinstance(run.model, Model)
    for given in (batch(), batch(missing=[1]), batch(1)):
        assert torch.equal(embed(run.model, given), embed(original, given))
    for name, tensor in original.state_dict().items():
        assert torch.equal(run.model.state_dict()[name], tensor), name


def test_frozen_projections_are_filled_and_the_unread_one_is_left_out(tmp_path: Path) -> None:
    original = tiny_signal()
    found = prepared(public_signal(original), tmp_path, sim={"projections": "frozen"})
    assert torch.equal(embed(found.model, batch()), embed(original, batch()))
    (rule,) = found.summary["ignored"]
    assert (rule["count"], rule["why"]) == (2, "nothing reads it")


def test_projections_cannot_be_dropped(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"SIM\.token_selection\.W_q\.weight .* which is off"):
        prepared(public_signal(tiny_signal()), tmp_path, sim={"projections": "identity"})


def test_what_only_trains_may_be_left_out(tmp_path: Path) -> None:
    original = tiny_signal()
    off: dict[str, Any] = {"gam": {"enabled": False}, "lam": {"enabled": False}}
    found = prepared(public_signal(original), tmp_path, **off)
    assert torch.equal(embed(found.model, batch()), embed(original, batch()))
    assert [rule["count"] for rule in found.summary["ignored"]] == [1, 3 * 7]


def test_a_temperature_of_one_axis_is_the_same_number(tmp_path: Path) -> None:
    state = public_signal(tiny_signal())
    state["AlignM.contra_temp"] = state["AlignM.contra_temp"][None]
    value = prepared(state, tmp_path).model.state_dict()["gam.temperature"]
    assert value.shape == () and value == state["AlignM.contra_temp"][0]
