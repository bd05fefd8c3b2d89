"""Benchmarks compare equals: the plain reference gives our numbers, and rows say what was measured."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from reid.config import Config, load
from reid.models.base import ModelContext, ReIDModel
from reid.models.registry import build_model
from reid.nn.moe.experts import BottleneckExperts
from reid.nn.moe.layer import dense, grouped
from reid.nn.moe.routing import Router, RouterConfig
from reid.studies.benchmarks.model import (
    SYSTEMS,
    rank_agreement,
    rendered_batch,
    system_rows,
    with_compiled_blocks,
)
from reid.studies.benchmarks.moe import moe_rows
from reid.studies.benchmarks.plain import LoopMoE, PlainTower, loop, loop_chosen, plain
from reid.studies.benchmarks.timing import BenchmarkRow, compare

CPU = torch.device("cpu")
STILL = {
    "mfrnet": [
        "model.ffm.dropout=0",
        "model.frm.dropout=0",
        *(f"model.{m}.router.noise=0" for m in ("ffm", "frm")),
    ]
}


def tiny(system: str, quick_gelu: bool = True) -> Config:
    """The system's synthetic preset, without anything random."""
    return load(
        f"{system}/synthetic", [f"model.tower.quick_gelu={str(quick_gelu).lower()}", *STILL.get(system, [])]
    )


def model_of(config: Config) -> ReIDModel:
    torch.manual_seed(3)
    data = config.data
    return build_model(config.model, ModelContext(5, 2, data.height, data.width, data.modalities))


@pytest.mark.parametrize(("system", "quick_gelu"), [*((s, True) for s in SYSTEMS), ("mfrnet", False)])
def test_the_plain_reference_computes_the_same_embeddings_losses_and_gradients(
    system: str, quick_gelu: bool
) -> None:
    config = tiny(system, quick_gelu)
    model = model_of(config).eval()
    batch = rendered_batch(config, 4)
    reference = plain(model)
    assert any(isinstance(m, PlainTower) for m in reference.modules())
    assert any(isinstance(m, LoopMoE) for m in reference.modules()) == (system == "mfrnet")
    assert not any(isinstance(m, PlainTower | LoopMoE) for m in model.modules()), "the model itself is left"
    with torch.inference_mode():
        gap = (model.embed(batch, "query") - reference.embed(batch, "query")).abs().max()
    assert gap < 1e-5
    gradients: list[dict[str, torch.Tensor]] = []
    for one in (model, reference):
        losses = one.train()(batch).losses
        torch.stack(list(losses.values())).sum().backward()
        gradients.append({n: p.grad for n, p in one.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        assert torch.allclose(gradient, gradients[1][name], atol=1e-4, rtol=1e-3), name


def test_every_way_to_mix_gives_the_same_sum() -> None:
    torch.manual_seed(0)
    router, experts = Router(RouterConfig(top_k=2), 8, 4), BottleneckExperts(4, 8, 16, "gelu")
    x = torch.randn(30, 8)
    routing = router(x)
    first = loop(x, routing, experts)
    for way in (loop_chosen, grouped, dense):
        assert torch.allclose(way(x, routing, experts), first, atol=1e-6)


@pytest.mark.slow
def test_rows_of_a_system_name_times_memory_and_agreement() -> None:
    rows = {r.name: r for r in system_rows(tiny("mfrnet"), 2, 1, CPU)}
    assert rows["mfrnet eval fp32"].target == 1.1 and rows["mfrnet eval bf16"].target == 2.5
    assert rows["mfrnet eval fp32 largest difference to plain"].value < 1e-5
    assert 0 <= rows["mfrnet eval bf16 equal first results"].value <= 1
    fp32, bf16 = rows["mfrnet train fp32"], rows["mfrnet train bf16"]
    assert bf16.reference == fp32.value, "bf16 is compared with our fp32"
    assert fp32.ratio == pytest.approx((fp32.reference or 0) / fp32.value)


@pytest.mark.slow
def test_rows_of_mixtures_compare_with_the_loop_and_aim_at_grouped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reid.studies.benchmarks.moe.SIZES", [(24, 3, 8, 4, 1)])
    rows = list(moe_rows(1, CPU))
    assert len(rows) == 6 and all(r.reference and r.ratio for r in rows)


def test_a_row_meets_its_target_or_says_so() -> None:
    row = BenchmarkRow("x", 2.0, "s", 5.0, 2.5, 3.0)
    assert row.ok is False and "NOT MET" in row.line()
    assert BenchmarkRow("x", 2.0, "s", 5.0, 2.5, 2.0).ok is True and BenchmarkRow("x", 1.0, "s").ok is None
    assert row.to_json() == {
        "name": "x", "value": 2.0, "unit": "s", "reference": 5.0, "ratio": 2.5, "target": 3.0,
        "skipped": None, "failed": None, "ok": False,
    }  # fmt: skip


def test_competitors_take_turns_and_the_best_counts() -> None:
    calls: list[str] = []
    found = compare({n: lambda n=n: calls.append(n) for n in "ab"}, 2, CPU)
    assert calls == ["a", "b", "a", "b", "a", "b"], "a warm-up each, then turns"
    assert all(0 <= m.seconds < 1 for m in found.values())


def test_agreement_of_rankings() -> None:
    vectors = torch.nn.functional.normalize(
        torch.randn(6, 4, generator=torch.Generator().manual_seed(0)), dim=1
    )
    assert rank_agreement(vectors, vectors * 0.5) == (1.0, pytest.approx(1.0))
    first, order = rank_agreement(vectors, vectors.flip(0))
    assert first < 1 and order < 0.9


@pytest.mark.slow
def test_compiled_blocks_compute_the_same() -> None:
    config = tiny("baseline")
    model: Any = model_of(config).eval()
    batch = rendered_batch(config, 2)
    with torch.inference_mode():
        gap = with_compiled_blocks(model).embed(batch, "query") - model.embed(batch, "query")
    assert gap.abs().max() < 1e-5
