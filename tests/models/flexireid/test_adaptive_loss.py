"""The adaptive loss: entropy of the whole softmax, in the stated order of means; what is told of routers."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch import Tensor

from reid.models.flexireid.adaptive_loss import RouterTotals
from reid.models.flexireid.stream_encoder import AdapterUse
from reid.nn.losses.routing import entropy_loss
from reid.nn.losses.sdm import EPSILON, sdm
from reid.nn.moe.routing import Router, RouterConfig, Routing, adaptive_experts
from tests.support.places import GOLDEN_FOLDER

GOLDEN = json.loads((GOLDEN_FOLDER / "flexireid.json").read_text())


def routed(logits: Tensor, threshold: float = 0.6) -> Routing:
    p = logits.softmax(1)
    chosen = adaptive_experts(p.detach(), threshold)
    return Routing(logits, logits, p, p * chosen, chosen, chosen, p.amax(1))


def value(uses: list[AdapterUse], reduction: str = "mean") -> float:
    return float(RouterTotals.of(uses).loss(reduction).detach())  # type: ignore[arg-type]


def test_it_is_between_zero_and_the_logarithm_of_the_experts_whatever_the_depth() -> None:
    for depth in (1, 5):
        most = [AdapterUse("image", i, "rgb", routed(torch.zeros(7, 6))) for i in range(depth)]
        least = [AdapterUse("image", i, "rgb", routed(torch.eye(6) * 200)) for i in range(depth)]
        assert value(most) == pytest.approx(GOLDEN["entropy_bound"], abs=1e-6)
        assert value(least) == pytest.approx(0, abs=1e-6)


def test_it_is_the_mean_over_units_then_over_layers_and_streams() -> None:
    logits = {name: torch.randn(n, 6) for name, n in (("rgb0", 40), ("rgb1", 40), ("nir0", 8), ("nir1", 8))}
    uses = [AdapterUse("image", int(n[-1]), n[:-1], routed(x)) for n, x in logits.items()]
    text = AdapterUse("text", 0, "text", routed(torch.randn(5, 6)))
    each = [float(entropy_loss(u.routing)) for u in [*uses, text]]
    assert value([*uses, text]) == pytest.approx(sum(each) / 5, abs=1e-5)
    summed = ((each[0] + each[1]) + (each[2] + each[3]) + each[4]) / 3
    assert value([*uses, text], "sum_layers") == pytest.approx(summed, abs=1e-5)


def test_padding_and_streams_without_units_are_left_out() -> None:
    logits, valid = torch.randn(6, 6), torch.tensor([True, False] * 3)
    use = AdapterUse("text", 0, "text", routed(logits), valid)
    empty = [AdapterUse("image", i, "nir", routed(torch.zeros(0, 6))) for i in range(2)]
    expected = float(entropy_loss(routed(logits[valid])))
    for reduction in ("mean", "sum_layers"):
        assert value([use, *empty], reduction) == pytest.approx(expected, abs=1e-5)
    assert value(empty) == 0


def test_it_is_of_all_experts_and_its_gradient_makes_routers_surer() -> None:
    logits = torch.randn(20, 6, requires_grad=True)
    loss = RouterTotals.of([AdapterUse("image", 0, "rgb", routed(logits))]).loss("mean")
    loss.backward()
    assert logits.grad is not None and bool((logits.grad != 0).all())  # also of those not chosen
    surer = routed((logits - 5 * logits.grad).detach())
    assert value([AdapterUse("image", 0, "rgb", surer)]) < float(loss.detach())


def test_what_is_told_of_routers() -> None:
    logits = torch.tensor([[5.0, 0, 0], [5, 0, 0], [0, 0, -9], [0, 0, -9]])
    uses = [
        AdapterUse("image", 0, "rgb", routed(logits)),
        AdapterUse("image", 0, "nir", routed(logits[:2])),
        AdapterUse("image", 1, "rgb", routed(logits[2:])),
        AdapterUse("image", 1, "nir", routed(logits[2:])),
    ]
    told = {k: float(v) for k, v in RouterTotals.of(uses).stats().items()}
    assert told["experts/rgb"] == pytest.approx((2 + 4 + 4) / 6)
    assert told["experts/nir"] == pytest.approx((2 + 4) / 4)
    assert told["image0/experts"] == pytest.approx((2 + 4 + 2) / 6)
    assert told["image1/experts"] == 2
    assert [told[f"image/load/{e}"] for e in range(3)] == pytest.approx([10 / 16, 6 / 16, 0])
    assert told["image/dead"] == 2  # the third, in both layers
    assert 0 < told["entropy/nir"] < math.log(3)


def test_adaptive_selection_takes_one_more_when_the_sum_only_reaches_the_threshold() -> None:
    p = torch.tensor([[0.5, 0.25, 0.25], [0.6, 0.3, 0.1], [0.8, 0.1, 0.1]])
    assert adaptive_experts(p, 0.5).sum(1).tolist() == [2, 1, 1]
    assert Router(RouterConfig(select="threshold", threshold=0.0), 4, 3)(torch.randn(5, 4)).chosen.sum() == 5


def test_sdm_of_random_features_has_the_known_size_and_falls_to_zero_when_aligned() -> None:
    golden = GOLDEN["sdm"]
    assert golden["epsilon"] == EPSILON
    torch.manual_seed(0)
    a, b = torch.randn(2, golden["rows"], golden["dim"])
    labels = torch.arange(golden["rows"])
    assert float(sdm(a, b, labels, golden["scale"])) == pytest.approx(golden["random"], abs=0.8)
    assert float(sdm(a, a, labels, golden["scale"])) == pytest.approx(0, abs=1e-3)
    with torch.autocast("cpu", torch.bfloat16):
        assert float(sdm(a, b, labels)) == pytest.approx(float(sdm(a, b, labels)))
