"""Semantic tokens: what the queries and the caption gather from each modality's patches."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from reid.data.batches.batch import UNKNOWN, Batch
from reid.modality import CAMERA, ORDER, Modality, Subset
from reid.models.stmi.semantic_tokens import SemanticTokens, SemanticTokensConfig

DIM, PATCHES = 16, 8


def batch_of(*subsets: Subset) -> Batch:
    present = torch.tensor([[m in subset for m in ORDER] for subset in subsets])
    index = {m: present[:, i].nonzero()[:, 0] for i, m in enumerate(ORDER) if present[:, i].any()}
    unknown = torch.full(present.shape, UNKNOWN)
    images = {m: torch.zeros(len(rows), 3, 8, 8) for m, rows in index.items()}
    return Batch(torch.zeros(len(subsets), dtype=torch.int64), present, unknown, unknown, images, index)


def patches_of(batch: Batch) -> dict[Modality, Tensor]:
    return {m: torch.randn(len(rows), PATCHES, DIM) for m, rows in batch.index.items()}


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("tokens", [0, 1, 4])
def test_a_modality_has_its_queries_and_one_token_of_the_caption(tokens: int, shared: bool) -> None:
    module = SemanticTokens(SemanticTokensConfig(tokens=tokens, shared=shared), DIM, CAMERA, heads=4)
    batch = batch_of(CAMERA, (Modality.NIR,), (Modality.RGB, Modality.TIR))
    nodes = module(patches_of(batch), torch.randn(3, DIM), batch)
    assert nodes.shape == (3, 3, tokens + 1, DIM)
    there = nodes.flatten(2).any(2)
    assert there.tolist() == [[True] * 3, [False, True, False], [True, False, True]]
    assert len(module.attend) == (1 if shared else 3)


def test_tokens_depend_on_their_own_patches_and_caption_only() -> None:
    module = SemanticTokens(SemanticTokensConfig(), DIM, CAMERA, heads=4)
    batch = batch_of(CAMERA, CAMERA)
    patches, captions = patches_of(batch), torch.randn(2, DIM)
    before = module(patches, captions, batch)
    patches[Modality.NIR] = patches[Modality.NIR] * torch.tensor([1.0, -1.0])[:, None, None]
    changed = (module(patches, captions, batch) - before).abs().amax((2, 3)) > 1e-4
    assert changed.tolist() == [[False] * 3, [False, True, False]]
    captions[0] *= -1
    changed = (module(patches, captions, batch) - before).abs().amax((2, 3)) > 1e-4
    assert changed.tolist() == [[True] * 3, [False, True, False]]


def test_a_modality_that_is_left_out_has_zero_tokens() -> None:
    module = SemanticTokens(SemanticTokensConfig(), DIM, CAMERA, heads=4)
    batch = batch_of(CAMERA)
    patches = patches_of(batch)
    whole = module(patches, torch.ones(1, DIM), batch)
    del patches[Modality.RGB]
    part = module(patches, torch.ones(1, DIM), batch)
    assert not part[:, 0].any()
    assert torch.allclose(part[:, 1:], whole[:, 1:], atol=1e-6)


def test_queries_differ_and_learn() -> None:
    module = SemanticTokens(SemanticTokensConfig(), DIM, CAMERA, heads=4)
    batch = batch_of(CAMERA)
    nodes = module(patches_of(batch), torch.randn(1, DIM), batch)
    assert float(module.queries.detach().std()) == pytest.approx(0.02, rel=0.2)
    (nodes * torch.randn_like(nodes)).sum().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None and parameter.grad.any(), name
