"""Every system's step with activations computed again, or with rows encoded in parts: the same step."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from reid.data.batches.batch import join
from reid.nn import compiled_blocks
from reid.nn.blockwise import BlockRun, run_blocks
from reid.nn.compiled_blocks import try_compiler
from reid.train.epoch import total_loss
from tests.support.models.ddp_ranks import CASES, HEIGHT, WIDTH, batch_of, config_of, model_of

SYSTEMS = ["concat", "mean, ragged", "mfrnet", "signal", "mixer", "mixer, tower", "stmi", "flexireid"]
RANDOM: dict[str, dict[str, Any]] = {
    "mfrnet": {"ffm": {"hidden": 24}, "frm": {"hidden": 12}},  # noise in the routers, dropout in the experts
    "flexireid": {"moe": {"hidden": 8, "dropout": 0.3}},
}


def step(
    case: str, way: BlockRun, changes: dict[str, Any] | None = None, dtype: torch.dtype = torch.float32
) -> dict[str, dict[str, Tensor]]:
    """Losses, gradients and buffers of one step on the rows of both ranks."""
    config = config_of(case)
    if changes:
        config = config.model_copy(update={"model": config.model.model_validate(changes | {"name": case})})
    model = model_of(config).to(dtype)
    batch = join([batch_of(case, rank) for rank in range(2)])
    batch = batch.completed(config.data.modalities, HEIGHT, WIDTH)
    batch = replace(batch, images={m: x.to(dtype) for m, x in batch.images.items()})
    torch.manual_seed(5)
    with run_blocks(way):
        output = model(batch)
        total_loss(output).backward()
    return {
        "losses": {n: x.detach() for n, x in output.losses.items()},
        "gradients": {n: p.grad for n, p in model.named_parameters() if p.grad is not None},
        "buffers": dict(model.named_buffers()),
        "next draw": {"": torch.rand(3)},
    }


def assert_same(
    found: dict[str, dict[str, Tensor]], expected: dict[str, dict[str, Tensor]], tolerance: float
) -> None:
    for kind, tensors in expected.items():
        assert found[kind].keys() == tensors.keys()
        for name, tensor in tensors.items():
            if torch.equal(found[kind][name], tensor):
                continue
            scale = max(1.0, float(tensor.abs().max()))
            gap = float((found[kind][name] - tensor).abs().max())
            assert gap <= tolerance * scale, (kind, name, gap)


@pytest.mark.parametrize("case", SYSTEMS)
def test_activations_computed_again_give_the_step_to_the_bit(case: str) -> None:
    assert_same(step(case, BlockRun(recompute=True)), step(case, BlockRun()), 0)


@pytest.mark.parametrize("case", list(RANDOM))
def test_dropout_and_routing_noise_are_drawn_once(case: str) -> None:
    fields = CASES[case][0] | RANDOM[case]
    again = step(case, BlockRun(recompute=True), fields)
    assert_same(again, step(case, BlockRun(), fields), 0)
    still = step(case, BlockRun())["losses"]
    assert any(not torch.equal(x, still[n]) for n, x in again["losses"].items() if n in still)


@pytest.mark.parametrize("case", ["concat", "mean, ragged", "signal", "stmi", "mixer, tower"])
@pytest.mark.parametrize("parts", [2, 100])
def test_parts_of_a_batch_give_the_step_of_the_whole(case: str, parts: int) -> None:
    assert model_of(config_of(case)).mixes_rows == ""
    # Sums over rows are added up in another order: float32's rounding is what differs.
    assert_same(step(case, BlockRun(parts=parts)), step(case, BlockRun()), 2e-5)


def test_parts_differ_by_rounding_alone() -> None:
    whole, apart = (step("mixer, tower", BlockRun(parts=n), dtype=torch.float64) for n in (1, 3))
    assert_same(apart, whole, 1e-12)


@pytest.mark.parametrize("case", ["mfrnet", "mixer", "flexireid"])
def test_an_encoder_that_mixes_rows_says_why(case: str) -> None:
    assert "batch" in model_of(config_of(case)).mixes_rows


@pytest.mark.slow
@pytest.mark.parametrize("case", ["concat", "signal", "stmi"])
def test_compiled_blocks_give_the_step_but_for_rounding(case: str) -> None:
    assert try_compiler(torch.device("cpu")) is None
    found = step(case, BlockRun(compiles=True))
    assert not compiled_blocks._failed, "nothing fell back"
    assert_same(found, step(case, BlockRun()), 1e-5)
