"""Adapted CLIP blocks: where the adapter stands, what it reads, and what the backward pass keeps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

from reid.models.flexireid.adapted_tower import (
    Adapter,
    Sequences,
    Style,
    adapted_block,
    adapted_blocks,
    encode_pictures,
    encode_sentences,
)
from reid.models.flexireid.adaptive_experts import AdaptiveExperts, AdaptiveExpertsConfig
from reid.nn.blockwise import BlockRun, run_blocks
from reid.nn.moe.routing import Routing
from reid.nn.towers.clip import ImageTower, ImageTowerConfig, TextTower, TextTowerConfig
from reid.nn.towers.freezing import freeze_towers

WIDTH = 32


@pytest.fixture
def tower() -> ImageTower:
    config = ImageTowerConfig(arch=None, patch=8, width=WIDTH, layers=3, heads=2, dim=16)
    return ImageTower(config, 32, 16).eval()


@pytest.fixture
def text() -> TextTower:
    config = TextTowerConfig(width=WIDTH, layers=2, heads=2, vocab=64, context=12)
    return TextTower(config, dim=16).eval()


def mixtures(count: int, **fields: Any) -> list[Adapter | None]:
    return [
        AdaptiveExperts(AdaptiveExpertsConfig.model_validate({"hidden": 8, "init": "conv", **fields}), WIDTH)
        for _ in range(count)
    ]


def images(count: int = 2) -> Tensor:
    return torch.randn(count, 3, 32, 16)


@pytest.mark.parametrize("reads", ["ln", "h"])
@pytest.mark.parametrize("place", ["parallel", "replace", "sequential"])
def test_the_adapter_stands_beside_in_place_of_or_behind_the_ffn(
    tower: ImageTower, place: Any, reads: Any
) -> None:
    block = tower.blocks[0]
    seen: list[Tensor] = []

    def adapter(tokens: Tensor, sequences: Sequences) -> tuple[Tensor, Routing]:
        seen.append(tokens)
        return torch.ones_like(tokens), None  # type: ignore[return-value]

    tokens = torch.randn(2, 9, WIDTH)
    found, _ = adapted_block(block, adapter, tokens, Sequences(), Style(place, reads))
    normed = block.ln_1(tokens)
    h = tokens + block.attn(normed, normed, normed, need_weights=False)[0]
    y = block.mlp(block.ln_2(h))
    inputs = {"ln": block.ln_2(h), "h": h} if place != "sequential" else {"ln": y, "h": h + y}
    expected = (h if place == "replace" else h + y) + 1
    assert torch.allclose(seen[0], inputs[reads], atol=1e-5)
    assert torch.allclose(found, expected, atol=1e-5)


def test_without_adapters_or_with_fresh_ones_pictures_are_clips_to_the_bit(tower: ImageTower) -> None:
    with torch.no_grad():
        expected = tower(images := torch.randn(3, 3, 32, 16))
        for adapters in (
            [None] * 3,
            mixtures(3, init="adapter"),
            mixtures(3, init="adapter", unit="sample_mean"),
        ):
            whole, found = encode_pictures(tower, adapters, images, Style())
            assert len(whole) == 0
            assert torch.equal(found.tokens, expected)


def test_without_adapters_or_with_fresh_ones_sentences_are_clips(text: TextTower) -> None:
    ids = torch.randint(1, 60, (3, 12))
    ids[torch.arange(3), torch.tensor([4, 8, 6])] = 63
    with torch.no_grad():
        expected = text(ids[:, :9])
        for adapters in ([None] * 2, mixtures(2, init="adapter")):
            found = encode_sentences(text, adapters, ids, Style())
            assert found.ends is not None and found.ends.tolist() == [4, 8, 6]
            assert torch.allclose(found.tokens, expected, atol=1e-6)
            feature = found.tokens[torch.arange(3), found.ends]
            assert torch.allclose(feature, text.feature(ids), atol=1e-6)


def test_a_sentence_does_not_see_what_comes_later_nor_other_sentences(text: TextTower) -> None:
    adapters = mixtures(2, scale=1.0)
    ids = torch.randint(1, 60, (2, 12))
    ids[:, 6:] = 0
    ids[torch.arange(2), torch.tensor([3, 5])] = 63
    behind = ids.clone()
    behind[0, 4:] = 9
    with torch.no_grad():
        both = encode_sentences(text, adapters, ids, Style()).tokens
        changed = encode_sentences(text, adapters, behind, Style()).tokens
        alone = encode_sentences(text, adapters, ids[:1], Style()).tokens
    assert torch.allclose(changed[0, :4], both[0, :4], atol=1e-6)
    assert torch.allclose(alone[0], both[0, :4], atol=1e-6)


def test_some_pictures_by_their_class_token_alone_equal_those_of_the_whole_pass(tower: ImageTower) -> None:
    adapters, pictures = mixtures(3, scale=1.0), images(5)
    with torch.no_grad():
        _, whole = encode_pictures(tower, adapters, pictures, Style())
        for cut in (2, 5):
            first, rest = encode_pictures(tower, adapters, pictures, Style(), cut)
            assert torch.allclose(first, whole.tokens[:cut, 0], atol=1e-6)
            assert rest.tokens.shape[0] == 5 - cut
            if cut < 5:
                assert torch.allclose(rest.tokens, whole.tokens[cut:], atol=1e-6)


def test_nothing_to_encode_gives_no_rows_but_a_gradient_for_every_parameter(
    tower: ImageTower, text: TextTower
) -> None:
    pictures, sentences = mixtures(3), mixtures(2)
    _, seen = encode_pictures(tower, pictures, images(0), Style())
    read = encode_sentences(text, sentences, torch.zeros(0, 1, dtype=torch.int64), Style())
    assert (seen.tokens.shape[0], read.tokens.shape[0]) == (0, 0)
    assert all(len(r.gates) == 0 for r in [*seen.routings, *read.routings])
    (seen.tokens.sum() + read.tokens.sum()).backward()
    modules = [tower, text, *pictures, *sentences]
    assert all(p.grad is not None for m in modules if isinstance(m, torch.nn.Module) for p in m.parameters())


@contextmanager
def kept() -> Iterator[dict[int, int]]:
    """Bytes of every storage that the backward pass keeps, by its address, while in this context."""
    found: dict[int, int] = {}
    alive: list[Tensor] = []

    def pack(x: Tensor) -> Tensor:
        storage = x.untyped_storage()
        found[storage.data_ptr()] = storage.nbytes()
        alive.append(x)
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        yield found


def activations(tower: ImageTower, adapters: list[Adapter | None], style: Style, frozen: bool) -> int:
    freeze_towers([tower], frozen)
    weights = {p.untyped_storage().data_ptr() for p in tower.parameters()}
    with kept() as found:
        _, encoded = encode_pictures(tower, adapters, images(8), style)
        assert encoded.tokens.requires_grad or frozen
    return sum(size for place, size in found.items() if place not in weights)


def test_a_frozen_part_before_the_first_adapter_keeps_nothing(tower: ImageTower) -> None:
    assert activations(tower, [None] * 3, Style(), frozen=True) == 0
    full = activations(tower, mixtures(3), Style(), frozen=False)
    frozen = activations(tower, mixtures(3), Style(), frozen=True)
    late = activations(tower, [None, None, *mixtures(1)], Style(), frozen=True)
    assert late < 0.4 * frozen
    assert frozen < 0.8 * full


def test_recomputing_keeps_less_and_has_the_same_gradients(tower: ImageTower) -> None:
    freeze_towers([tower], True)
    adapters = mixtures(3, scale=1.0, dispatch="grouped")
    parameters = [p for m in adapters if isinstance(m, AdaptiveExperts) for p in m.parameters()]
    pictures, gradients, sizes = images(4), [], []
    for recompute in (False, True):
        with kept() as found, run_blocks(BlockRun(recompute)):
            _, encoded = encode_pictures(tower, adapters, pictures, Style())
            loss = encoded.tokens.square().sum()
        sizes.append(sum(found.values()))
        gradients.append(torch.autograd.grad(loss, parameters))
    assert sizes[1] < 0.5 * sizes[0]
    for a, b in zip(*gradients, strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-5)


def test_blocks_in_a_row_tell_each_routing(tower: ImageTower) -> None:
    tokens = torch.randn(2, 9, WIDTH)
    _, routings = adapted_blocks(list(tower.blocks), mixtures(3), tokens, Sequences(), Style())
    assert [r.gates.shape for r in routings] == [(18, 6)] * 3
    freeze_towers([tower], True, norms=True, projections=True)
    free = {n for n, p in tower.named_parameters() if p.requires_grad}
    norms = {n for n, _ in tower.named_parameters() if ".ln_" in n}
    assert free == norms | {"visual.proj"}
