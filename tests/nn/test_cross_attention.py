"""The pre-norm block of cross- and self-attention: what it adds up, and what it starts from."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reid.errors import ConfigError
from reid.nn.cross_attention import CrossAttention, CrossAttentionStack, keep_mean

DIM = 16


@pytest.fixture
def pair() -> tuple[Tensor, Tensor]:
    return torch.randn(3, 2, DIM), torch.randn(3, 5, DIM)


def by_modules(block: CrossAttention, q: Tensor, kv: Tensor, ignored: Tensor | None = None) -> Tensor:
    """What attention gives, by torch's own module."""
    keys = block.norm_kv(kv)
    attended: Tensor = block.attention(block.norm_q(q), keys, keys, ignored, need_weights=False)[0]
    return attended


def test_the_block_is_pre_norm_with_residuals_around_attention_and_ffn(pair: tuple[Tensor, Tensor]) -> None:
    block = CrossAttention(DIM, heads=4)
    q, kv = pair
    assert block.ffn is not None and block.norm is not None
    z = q + by_modules(block, q, kv)
    expected = z + block.ffn(block.norm(z))
    assert torch.allclose(block(q, kv), expected, atol=1e-6)


@pytest.mark.parametrize("residual", ["q", "kv", "none"])
def test_the_residual_is_of_the_queries_of_the_source_or_none(residual: str) -> None:
    block = CrossAttention(DIM, heads=2, residual=residual, ffn=False)  # type: ignore[arg-type]
    assert block.norm is None
    q, kv, own = torch.randn(3, 5, DIM), torch.randn(3, 5, DIM), torch.randn(3, 5, DIM)
    attended = by_modules(block, q, kv)
    added = {"q": q, "kv": kv, "none": torch.zeros_like(q)}[residual]
    assert torch.allclose(block(q, kv), added + attended, atol=1e-6)
    named = own if residual == "kv" else added
    assert torch.allclose(block(q, kv, own=own), named + attended, atol=1e-6)


def test_ignored_positions_change_nothing(pair: tuple[Tensor, Tensor]) -> None:
    block, (q, kv) = CrossAttention(DIM), pair
    ignored = torch.tensor([[False] * 3 + [True] * 2] * 3)
    found = block(q, kv, ignored)
    assert torch.allclose(found, block(q, kv[:, :3]), atol=1e-6)
    assert torch.allclose(found, block(q, torch.where(ignored[..., None], 99.0, kv), ignored), atol=1e-6)


def test_each_query_is_answered_alone(pair: tuple[Tensor, Tensor]) -> None:
    """So that several queries may go through one call."""
    block, (q, kv) = CrossAttention(DIM), pair
    assert torch.allclose(block(q, kv)[:, 1:], block(q[:, 1:], kv), atol=1e-6)


def test_weights_start_by_clips_rule_with_zero_biases() -> None:
    torch.manual_seed(0)
    dim, depth = 256, 2
    block = CrossAttention(dim, depth=depth)
    assert block.ffn is not None
    down, up = block.ffn[0], block.ffn[2]
    assert isinstance(down, nn.Linear) and isinstance(up, nn.Linear)
    branch = dim**-0.5 * (2 * depth) ** -0.5
    for weight, std in (
        (block.attention.in_proj_weight, dim**-0.5),
        (block.attention.out_proj.weight, branch),
        (down.weight, (2 * dim) ** -0.5),
        (up.weight, branch),
    ):
        assert float(weight.std().detach()) == pytest.approx(std, rel=0.02)
    assert not any(p.any() for n, p in block.named_parameters() if n.endswith("bias"))
    assert block.attention.num_heads == dim // 64


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(ConfigError, match="3 attention heads do not divide a width of 16"):
        CrossAttention(DIM, heads=3)


def test_a_stack_refines_its_queries_and_keeps_the_source(pair: tuple[Tensor, Tensor]) -> None:
    stack, (q, kv) = CrossAttentionStack(DIM, depth=2), pair
    first, second = stack.blocks
    assert torch.allclose(stack(q, kv), second(first(q, kv), kv))
    inner = first(q, q)
    assert torch.allclose(stack(q), second(inner, inner))


def test_no_rows_give_no_rows_but_gradients() -> None:
    block = CrossAttention(DIM)
    for ignored in (None, torch.zeros(0, 5, dtype=torch.bool)):
        block.zero_grad()
        found = block(torch.zeros(0, 2, DIM), torch.zeros(0, 5, DIM), ignored)
        assert found.shape == (0, 2, DIM)
        found.sum().backward()
        assert all(p.grad is not None for p in block.parameters())


def test_the_mean_of_a_sequence_leaves_ignored_positions_out() -> None:
    tokens = torch.randn(2, 4, 3)
    ignored = torch.tensor([[False, False, True, True], [False] * 4])
    expected = torch.stack([tokens[0, :2].mean(0), tokens[1].mean(0)])
    assert torch.allclose(keep_mean(tokens, ignored), expected)
    assert torch.equal(keep_mean(tokens), tokens.mean(1))
    assert F.cosine_similarity(keep_mean(tokens), expected)[1] == pytest.approx(1)
