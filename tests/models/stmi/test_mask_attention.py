"""Modulated attention: the paper's equation, its limits, its gradients, and what it keeps alive."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from reid.config.typed import check
from reid.errors import ConfigError
from reid.models.stmi.mask_attention import MaskAttentionConfig, Modulation, _Modulated
from reid.models.stmi.mask_tokens import TokenMask
from reid.nn.towers.clip import ImageTower, ImageTowerConfig
from tests.support.places import GOLDEN_FOLDER

GOLDEN = json.loads((GOLDEN_FOLDER / "stmi.json").read_text())
modulated: Callable[..., Tensor] = _Modulated.apply
TOWER = ImageTowerConfig(arch=None, patch=8, width=32, layers=4, heads=2, dim=16)


def literal(q: Tensor, k: Tensor, v: Tensor, foreground: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    """The equation as printed, one matrix after the other."""
    logits = q @ k.transpose(-1, -2)
    below = logits.amax(-1, keepdim=True) - logits
    above = logits - logits.amin(-1, keepdim=True)
    pair = (foreground[:, None, : q.shape[2], None] & foreground[:, None, None]).to(q.dtype)
    moved = alpha[..., None, None] * pair * below - beta[..., None, None] * (1 - pair) * above
    return ((logits + moved) / q.shape[-1] ** 0.5).softmax(-1) @ v


def drawn(heads: int, queries: int = 7, dtype: torch.dtype = torch.double) -> list[Tensor]:
    """q, k, v, foreground, alpha, beta; strengths of each head, or shared ones."""
    b, h, tokens, d = 2, 3, 7, 4
    qkv = [torch.randn(b, h, n, d, dtype=dtype, requires_grad=True) for n in (queries, tokens, tokens)]
    foreground = torch.rand(b, tokens) < 0.5
    strengths = [torch.rand(b, heads, dtype=dtype, requires_grad=True) for _ in range(2)]
    return [*qkv, foreground, *strengths]


@pytest.mark.parametrize("heads", [1, 3])
@pytest.mark.parametrize("queries", [7, 1])
def test_the_closed_form_is_the_papers_equation_forwards_and_backwards(heads: int, queries: int) -> None:
    given = drawn(heads, queries)
    ours, paper = modulated(*given), literal(*given)
    assert torch.allclose(ours, paper, atol=1e-12)
    weight, learned = torch.randn_like(ours), [x for x in given if x.requires_grad]
    found = torch.autograd.grad(ours, learned, weight)
    for one, other in zip(found, torch.autograd.grad(paper, learned, weight), strict=True):
        assert torch.allclose(one, other, atol=1e-12)


def test_no_attention_matrix_outlives_the_call() -> None:
    """Kept for the backward: queries, keys, values and scalars. The printed equation keeps four matrices."""
    b, h, tokens, d = 2, 4, 129, 64

    def kept(form: Callable[..., Tensor]) -> float:
        qkv = torch.randn(b, tokens, 3 * h * d, requires_grad=True)
        q, k, v = (x.unflatten(-1, (h, d)).transpose(1, 2) for x in qkv.chunk(3, -1))
        strength = torch.full((b, 1), 0.1, requires_grad=True)
        storages: dict[int, int] = {}

        def note(x: Tensor) -> Tensor:
            storages[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
            return x

        with torch.autograd.graph.saved_tensors_hooks(note, lambda x: x):
            out = form(q, k, v, torch.rand(b, tokens) < 0.4, strength, strength)
        assert out.shape == (b, h, tokens, d)
        beyond = sum(storages.values()) - 4 * qkv.numel()
        return beyond / (4 * b * h * tokens**2)

    assert kept(modulated) < 0.01
    assert kept(literal) > 4


@pytest.mark.parametrize("strength", sorted(GOLDEN["foreground_mass"]))
def test_foreground_rows_turn_to_the_foreground_as_the_strengths_grow(strength: str) -> None:
    b, h, tokens, d, inside = 16, 4, 129, 64, 50
    q, k = 3 / 8 * torch.randn(b, h, tokens, d), torch.randn(b, h, tokens, d)
    foreground = (torch.arange(tokens) < inside).expand(b, -1)
    v = foreground[:, None, :, None].float().expand(b, h, tokens, d)
    given = torch.full((b, 1), float(strength))
    mass = modulated(q, k, v, foreground, given, given)[:, :, :inside, 0].mean()
    assert float(mass) == pytest.approx(GOLDEN["foreground_mass"][strength], abs=0.015)


def test_a_background_row_is_only_flattened() -> None:
    q, k, v, _, _, beta = drawn(1)
    foreground = torch.zeros(2, 7, dtype=torch.bool)
    found = modulated(q, k, v, foreground, torch.ones_like(beta), beta)
    flat = ((q * (1 - beta[..., None, None])) @ k.transpose(-1, -2) / 2).softmax(-1) @ v
    assert torch.allclose(found, flat, atol=1e-12)


def modulation(**fields: Any) -> Modulation:
    config = check(MaskAttentionConfig, fields, "model.sfm")
    return Modulation(config, layers=4, heads=2, modalities=3)


def inputs(tower: ImageTower, b: int = 6) -> tuple[Tensor, TokenMask, Tensor]:
    tokens = tower.patchify(torch.randn(b, 3, 32, 16))
    foreground = torch.rand(b, 9) < 0.5
    foreground[:, 0] = True
    return tokens, TokenMask(foreground, torch.ones(b, dtype=torch.bool)), torch.arange(b) % 3


@pytest.mark.parametrize("class_only", [False, True])
def test_strengths_of_zero_are_clip(class_only: bool) -> None:
    tower, module = ImageTower(TOWER, 32, 16), modulation(init=0)
    tokens, mask, kinds = inputs(tower)
    plain = tower.encode(tokens, class_only=class_only)
    assert torch.allclose(module.encode(tower, tokens, mask, kinds, class_only), plain, atol=1e-6)
    strong = modulation(init=0.5)
    assert not torch.allclose(strong.encode(tower, tokens, mask, kinds, class_only), plain, atol=1e-3)


def test_rows_without_a_mask_are_clips_among_rows_with_one() -> None:
    tower, module = ImageTower(TOWER, 32, 16), modulation(init=0.5)
    tokens, mask, kinds = inputs(tower)
    usable = torch.tensor([True, False] * 3)
    everywhere = TokenMask(mask.tokens | ~usable[:, None], usable)
    found, plain = module.encode(tower, tokens, everywhere, kinds), tower.encode(tokens)
    assert torch.allclose(found[~usable], plain[~usable], atol=1e-6)
    assert not torch.allclose(found[usable], plain[usable], atol=1e-3)


def test_the_class_token_alone_is_that_of_all_tokens() -> None:
    tower, module = ImageTower(TOWER, 32, 16), modulation(init=0.4)
    tokens, mask, kinds = inputs(tower)
    whole = module.encode(tower, tokens, mask, kinds)
    assert torch.allclose(module.encode(tower, tokens, mask, kinds, True), whole[:, :1], atol=1e-6)


@pytest.mark.parametrize(
    ("fields", "shape", "layers"),
    [
        ({}, (1, 4, 1), [0, 1, 2, 3]),
        ({"scope": "shared"}, (1, 1, 1), [0, 1, 2, 3]),
        ({"scope": "head"}, (1, 4, 2), [0, 1, 2, 3]),
        ({"scope": "early"}, (1, 2, 1), [0, 1]),
        ({"scope": "late"}, (1, 2, 1), [2, 3]),
        ({"per_modality": True, "scope": "head"}, (3, 4, 2), [0, 1, 2, 3]),
        ({"param": "sigmoid", "init": 0.3}, (1, 4, 1), [0, 1, 2, 3]),
    ],
)
def test_a_scope_says_which_layers_heads_and_modalities_have_strengths_of_their_own(
    fields: dict[str, Any], shape: tuple[int, ...], layers: list[int]
) -> None:
    tower, module = ImageTower(TOWER, 32, 16), modulation(**fields)
    assert module.alpha.shape == module.beta.shape == shape
    start = fields.get("init", 0.1)
    assert torch.allclose(module.bounded(module.alpha), torch.full(shape, start), atol=1e-6)
    tokens, mask, kinds = inputs(tower)
    found = [module.strengths(x, mask.usable, kinds) is not None for x in range(4)]
    assert [x for x, there in enumerate(found) if there] == layers
    module.encode(tower, tokens, mask, kinds).square().sum().backward()
    for parameter in (module.alpha, module.beta):
        assert parameter.grad is not None
        assert parameter.grad.ne(0).all(), "every strength learns"


def test_strengths_of_a_modality_act_on_its_rows_only() -> None:
    tower, module = ImageTower(TOWER, 32, 16), modulation(per_modality=True)
    tokens, mask, kinds = inputs(tower)
    before = module.encode(tower, tokens, mask, kinds)
    with torch.no_grad():
        module.alpha[1] += 0.5
    after = module.encode(tower, tokens, mask, kinds)
    assert torch.equal(before[kinds != 1], after[kinds != 1])
    assert not torch.allclose(before[kinds == 1], after[kinds == 1], atol=1e-4)


def test_a_clamped_strength_acts_within_0_and_1_and_can_come_back() -> None:
    module = modulation()
    with torch.no_grad():
        module.alpha.copy_(torch.tensor([-0.5, 0.2, 1.0, 1.7]).view(1, 4, 1))
    found = module.bounded(module.alpha)
    assert torch.allclose(found.flatten(), torch.tensor([0, 0.2, 1, 1]))
    found.sum().backward()
    assert module.alpha.grad is not None
    assert module.alpha.grad.eq(1).all()


def test_half_precision_is_near_and_has_finite_gradients() -> None:
    tower, module = ImageTower(TOWER, 32, 16), modulation(init=0.3)
    tokens, mask, kinds = inputs(tower)
    exact = module.encode(tower, tokens, mask, kinds)
    with torch.autocast("cpu", torch.bfloat16):
        found = module.encode(tower, tokens, mask, kinds)
    assert torch.nn.functional.cosine_similarity(found.float(), exact, dim=-1).min() > 0.99
    found.float().square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in module.parameters())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"init": 1.1}, r"model\.sfm\.init: .*less than or equal to 1"),
        ({"init": 0, "param": "sigmoid"}, r"model\.sfm: init: with param sigmoid"),
        ({"scope": "layers"}, r"model\.sfm\.scope"),
        ({"theta": 0}, r"model\.sfm\.theta: .*greater than 0"),
        ({"gamma": 0}, r"model\.sfm\.gamma: unknown key"),
    ],
)
def test_what_cannot_be_is_refused_by_field(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        modulation(**fields)
