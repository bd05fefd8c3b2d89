"""Adaptive expert allocation: how many experts a token gets, what they add, and how it is computed."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import Tensor

from reid.config.typed import check
from reid.errors import ConfigError
from reid.models.flexireid.adapted_tower import Sequences
from reid.models.flexireid.adaptive_experts import AdaptiveExperts, AdaptiveExpertsConfig
from tests.support.places import GOLDEN_FOLDER

GOLDEN = json.loads((GOLDEN_FOLDER / "flexireid.json").read_text())
DIM = 16


def layer(width: int = DIM, **fields: Any) -> AdaptiveExperts:
    """A mixture whose experts do something, unless `init` says otherwise."""
    torch.manual_seed(2)
    return AdaptiveExperts(
        check(AdaptiveExpertsConfig, {"hidden": 8, "init": "conv", **fields}, "moe"), width
    )


def one_by_one(module: AdaptiveExperts, tokens: Tensor, gates: Tensor) -> Tensor:
    """sum_i g_i Adapter_i(x), by the formula, token by token."""
    experts = module.experts
    rows = []
    for x, g in zip(tokens.flatten(0, -2), gates, strict=True):
        total = torch.zeros_like(x)
        for i in range(module.config.experts):
            if g[i]:
                hidden = torch.relu(experts.down[i] @ x + experts.down_bias[i])
                total = total + g[i] * (experts.up[i] @ hidden + experts.up_bias[i])
        rows.append(module.config.scale * total)
    return torch.stack(rows).view_as(tokens)


@pytest.mark.parametrize("dispatch", ["dense", "grouped"])
def test_the_output_is_the_scaled_sum_of_the_chosen_adapters_by_raw_probability(dispatch: str) -> None:
    module, tokens = layer(dispatch=dispatch), 4 * torch.randn(2, 5, DIM)
    found, routing = module(tokens, Sequences())
    p = (tokens.flatten(0, 1) @ module.router.scorer.weight.T).softmax(1)
    assert torch.allclose(routing.probabilities, p, atol=1e-6)
    for row, chosen in zip(p, routing.chosen, strict=True):
        order = row.argsort(descending=True)
        fewest = next(k for k in range(1, 7) if row[order[:k]].sum() > 0.6)
        assert set(chosen.nonzero()[:, 0].tolist()) == set(order[:fewest].tolist())
    assert torch.allclose(routing.gates, p * routing.chosen)
    assert torch.allclose(found, one_by_one(module, tokens, routing.gates), atol=1e-5)


@pytest.mark.parametrize("threshold", ["0.6", "0.4"])
def test_uniform_probabilities_start_with_so_many_experts(threshold: str) -> None:
    module = layer(threshold=float(threshold))
    with torch.no_grad():
        module.router.scorer.weight.zero_()
    _, routing = module(torch.randn(1, 9, DIM), Sequences())
    assert routing.chosen.sum(1).tolist() == [GOLDEN["experts"]["uniform"][threshold]] * 9


@pytest.mark.parametrize("threshold", ["0.6", "0.4"])
def test_a_fresh_router_gives_a_token_so_many_experts(threshold: str) -> None:
    module = layer(768, threshold=float(threshold))
    _, routing = module(torch.randn(4, 1000, 768), Sequences())
    expected = GOLDEN["experts"]["random"][threshold]
    assert float(routing.chosen.float().sum(1).mean()) == pytest.approx(expected, abs=0.1)


def test_adapters_add_nothing_at_the_start_and_learn_from_the_first_step() -> None:
    module = layer(init="adapter")
    tokens = torch.randn(2, 5, DIM)
    found, _ = module(tokens, Sequences())
    assert not found.any()
    (found - 1).square().sum().backward()
    gradients = {n: p.grad for n, p in module.named_parameters()}
    assert all(g is not None for g in gradients.values())
    up = gradients["experts.up"]
    assert up is not None and up.any()


def test_the_scale_may_be_learned() -> None:
    fixed, learned = layer(scale=0.3), layer(scale=0.3, learn_scale=True)
    tokens = torch.randn(2, 5, DIM)
    assert torch.allclose(fixed(tokens, Sequences())[0], learned(tokens, Sequences())[0])
    learned(tokens, Sequences())[0].sum().backward()
    assert learned.scale is not None and learned.scale.grad is not None and learned.scale.grad != 0


@pytest.mark.parametrize(
    ("fields", "count", "total"),
    [
        ({"router": "topk", "top_k": 2}, 2, None),
        ({"router": "soft"}, 6, 1.0),
        ({"router": "hash"}, 1, 1.0),
        ({"router": "topk", "top_k": 3, "renormalise": True}, 3, 1.0),
        ({"renormalise": True}, None, 1.0),
    ],
)
def test_other_strategies_choose_otherwise(
    fields: dict[str, Any], count: int | None, total: float | None
) -> None:
    _, routing = layer(**fields)(torch.randn(2, 5, DIM), Sequences())
    if count is not None:
        assert set(routing.chosen.sum(1).tolist()) == {count}
    sums = routing.gates.sum(1)
    assert torch.allclose(sums, torch.ones(10)) if total else bool((sums < 1).all())


def test_hash_routing_goes_by_key_and_without_keys_by_place() -> None:
    module = layer(router="hash")
    tokens = torch.randn(2, 40, DIM)
    _, by_place = module(tokens, Sequences())
    assert torch.equal(by_place.chosen[:40], by_place.chosen[40:])
    assert by_place.chosen.any(0).sum() > 3
    keys = torch.full((2, 40), 7)
    _, by_key = module(tokens, Sequences(keys=keys))
    assert by_key.chosen.any(0).sum() == 1


@pytest.mark.parametrize("dispatch", ["dense", "grouped"])
@pytest.mark.parametrize("unit", ["sample_cls", "sample_mean"])
def test_samples_as_units_send_all_their_tokens_to_the_same_experts(unit: str, dispatch: str) -> None:
    module, tokens = layer(unit=unit, dispatch=dispatch), 4 * torch.randn(3, 5, DIM)
    valid = torch.tensor([[True] * 5, [True] * 3 + [False] * 2, [True] + [False] * 4])
    anchor = torch.tensor([4, 2, 0])
    found, routing = module(tokens, Sequences(anchor, valid))
    assert routing.gates.shape == (3, 6)
    if unit == "sample_cls":
        units = torch.stack([tokens[0, 4], tokens[1, 2], tokens[2, 0]])
    else:
        units = torch.stack([tokens[0].mean(0), tokens[1, :3].mean(0), tokens[2, 0]])
    assert torch.allclose(routing.logits, units @ module.router.scorer.weight.T, atol=1e-5)
    expected = one_by_one(module, tokens, routing.gates.repeat_interleave(5, 0))
    assert torch.allclose(found, expected, atol=1e-5)
    _, first = layer(unit="sample_cls")(tokens, Sequences())
    assert torch.allclose(first.logits, tokens[:, 0] @ module.router.scorer.weight.T, atol=1e-5)


@pytest.mark.parametrize(("tokens", "width"), [(3, 16), (600, 96), (120, 512)])
@pytest.mark.parametrize("top_k", [1, 3, 6])
def test_dispatch_changes_no_number_whatever_is_chosen(tokens: int, width: int, top_k: int) -> None:
    x = torch.randn(1, tokens, width)
    made = [layer(width, router="topk", top_k=top_k, dispatch=d) for d in ("dense", "grouped", "auto")]
    dense, grouped, auto = (m(x, Sequences())[0] for m in made)
    assert torch.allclose(dense, grouped, atol=1e-6)
    assert torch.allclose(dense, auto, atol=1e-6)


def test_grouped_is_chosen_where_it_is_faster() -> None:
    def chosen(tokens: int, width: int, top_k: int) -> bool:
        module = layer(width, router="topk", top_k=top_k)
        routing = module.router(torch.randn(tokens, width))
        return module._grouped(routing, width)

    assert chosen(193, 768, 1) and chosen(193, 768, 3) and chosen(77, 512, 3) and chosen(2112, 96, 2)
    assert not chosen(193, 768, 4) and not chosen(33, 96, 1) and not chosen(2112, 96, 3)


def test_routing_is_float32_under_autocast_and_outputs_agree() -> None:
    module, tokens = layer(256), torch.randn(2, 50, 256)
    exact, routing = module(tokens, Sequences())
    with torch.autocast("cpu", torch.bfloat16):
        found, same = module(tokens, Sequences())
    assert same.probabilities.dtype == torch.float32
    assert torch.equal(same.chosen, routing.chosen)
    assert torch.allclose(found.float(), exact, atol=2e-2 * float(exact.detach().abs().max()))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"router": "topk", "top_k": 7}, "top_k = 7 of 6 experts"),
        ({"router": "hash", "unit": "sample_cls"}, "use unit: token"),
        ({"threshold": 1.0}, r"moe\.threshold: .*less than 1"),
        ({"router": "cosine"}, r"moe\.router"),
        ({"tau": 0.4}, r"moe\.tau: unknown key"),
    ],
)
def test_what_cannot_be_built_is_refused_by_field(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        layer(**fields)
