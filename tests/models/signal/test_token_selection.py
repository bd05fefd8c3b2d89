"""Token selection against the official code's masks, and the interaction that it feeds."""

from __future__ import annotations

import json
import math
from typing import Any, get_args

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reid.models.signal.token_selection import (
    Projections,
    SelectiveInteraction,
    TokenSelection,
    inter_selection,
    intra_selection,
    top_mask,
)
from tests.support.places import GOLDEN_FOLDER

TOLD = json.loads((GOLDEN_FOLDER / "signal.json").read_text())
GOLDEN = TOLD["selection"]
CAMERAS = ("rgb", "nir", "tir")
ALL = torch.ones(3, 3, dtype=torch.bool)


def seq(a: float, b: float, shape: list[int]) -> Tensor:
    """sin(a*k + b) with k counting row-major: the inputs of the reference masks."""
    k = torch.arange(math.prod(shape), dtype=torch.float64)
    return torch.sin(a * k + b).reshape(shape).float()


def golden_inputs() -> tuple[Tensor, Tensor]:
    """Class tokens (3, 3, 5) and patches (3, 3, 4, 5)."""
    cls = [seq(GOLDEN["cls"]["a"], b, GOLDEN["cls"]["shape"]) for b in GOLDEN["cls"]["b"]]
    patches = [seq(TOLD["tokens"][m]["a"], TOLD["tokens"][m]["b"], TOLD["tokens"]["shape"]) for m in CAMERAS]
    return torch.stack(cls, dim=1), torch.stack(patches, dim=1)


def spelled(masks: Tensor) -> dict[str, list[str]]:
    """Masks (rows, modalities, patches) as the reference writes them."""
    return {
        m: ["".join(str(int(x)) for x in row) for row in masks[:, i].tolist()] for i, m in enumerate(CAMERAS)
    }


def test_intra_modal_masks_equal_the_official_ones() -> None:
    cls, patches = golden_inputs()
    assert spelled(intra_selection(cls, patches, GOLDEN["k1"])) == GOLDEN["intra"]


def test_inter_modal_masks_equal_the_official_ones() -> None:
    cls, patches = golden_inputs()
    query, key = seq(**GOLDEN["query"]), seq(**GOLDEN["key"])
    masks = inter_selection(cls @ query.T, patches @ key.T, GOLDEN["k1"], ALL)
    assert spelled(masks) == GOLDEN["inter"]


def test_the_kept_patches_are_the_union_of_both() -> None:
    cls, patches = golden_inputs()
    selection = TokenSelection(5, GOLDEN["k1"], "learned")
    with torch.no_grad():
        for name, layer in (("query", selection.query), ("key", selection.key)):
            layer.get_parameter("weight").copy_(seq(**GOLDEN[name]))
            layer.get_parameter("bias").zero_()
    found = spelled(selection(cls, patches, ALL))
    for m in CAMERAS:
        for row in range(3):
            both = zip(GOLDEN["intra"][m][row], GOLDEN["inter"][m][row], strict=True)
            assert found[m][row] == "".join(str(max(int(a), int(b))) for a, b in both)


def test_top_takes_exactly_k_and_ties_by_position() -> None:
    assert top_mask(torch.tensor([[1.0, 3.0, 3.0, 3.0]]), 2).tolist() == [[False, True, True, False]]
    each = top_mask(torch.tensor([[4.0, 3.0, 2.0], [4.0, 3.0, 2.0]]), torch.tensor([[0], [2]]))
    assert each.tolist() == [[False] * 3, [True, True, False]]


def test_absent_modalities_neither_pick_nor_are_picked_and_the_budget_shrinks() -> None:
    """Against a loop over rows, queries and the others that the row has."""
    k, present = 2, torch.tensor([[1, 1, 1], [1, 0, 1], [0, 1, 0], [0, 1, 1]], dtype=torch.bool)
    queries, keys = torch.randn(4, 3, 8), torch.randn(4, 3, 6, 8)
    expected = torch.zeros(4, 3, 6, dtype=torch.bool)
    for row in range(4):
        here = [m for m in range(3) if present[row, m]]
        for query in here:
            others = [m for m in here if m != query]
            scored = [(float(queries[row, query] @ keys[row, m, n]), m, n) for m in others for n in range(6)]
            for _, m, n in sorted(scored, reverse=True)[: k * len(others)]:
                expected[row, m, n] = True
    assert torch.equal(inter_selection(queries, keys, k, present), expected)
    assert not expected[2].any()


def test_alone_a_modality_keeps_what_its_own_class_token_picks() -> None:
    cls, patches = torch.randn(2, 1, 8), torch.randn(2, 1, 6, 8)
    selection = TokenSelection(8, 2, "frozen")
    kept = selection(cls, patches, torch.ones(2, 1, dtype=torch.bool))
    assert torch.equal(kept, intra_selection(cls, patches, 2))
    assert kept.sum(2).tolist() == [[2], [2]]


def test_scores_are_float32_under_autocast() -> None:
    cls, patches = torch.randn(4, 3, 64), torch.randn(4, 3, 40, 64)
    selection = TokenSelection(64, 7, "frozen")
    exact = selection(cls, patches, torch.ones(4, 3, dtype=torch.bool))
    with torch.autocast("cpu", torch.bfloat16):
        found = selection(cls, patches, torch.ones(4, 3, dtype=torch.bool))
    assert torch.equal(found, exact)


@pytest.mark.parametrize(
    ("projections", "parameters", "saved"),
    [
        ("frozen", set(), {"query", "key"}),
        ("learned", {"query", "key", "value"}, {"query", "key", "value"}),
        ("identity", set(), set()),
    ],
)
def test_projections_are_saved_and_only_learned_ones_are_parameters(
    projections: Projections, parameters: set[str], saved: set[str]
) -> None:
    selection = TokenSelection(8, 2, projections)

    def tensors(names: set[str]) -> set[str]:
        return {f"{name}.{part}" for name in names for part in ("weight", "bias")}

    assert {name for name, _ in selection.named_parameters()} == tensors(parameters)
    assert set(selection.state_dict()) == tensors(saved)


def test_a_learned_projection_with_the_frozen_one_s_weights_selects_the_same() -> None:
    cls, patches, everyone = torch.randn(2, 3, 8), torch.randn(2, 3, 6, 8), torch.ones(2, 3, dtype=torch.bool)
    frozen, learned = TokenSelection(8, 2, "frozen"), TokenSelection(8, 2, "learned")
    learned.load_state_dict(frozen.state_dict(), strict=False)
    assert torch.equal(frozen(cls, patches, everyone), learned(cls, patches, everyone))


def interaction(**fields: Any) -> SelectiveInteraction:
    given = {"k": 2, "projections": "frozen", "heads": 2, "hidden": 12, "drop": "zero", **fields}
    return SelectiveInteraction(8, **given).eval()


@pytest.mark.parametrize("drop", ["zero", "mask"])
def test_discarded_patches_stay_as_zero_keys_or_go(drop: str) -> None:
    """Against attention written out for one row."""
    module = interaction(drop=drop, k=1)
    cls, patches = torch.randn(1, 3, 8), torch.randn(1, 3, 6, 8)
    rows, kept = module(cls, patches)
    assert 3 <= int(kept.sum()) < 18
    keys = (patches * kept[..., None])[0].flatten(0, 1) if drop == "zero" else patches[0][kept[0]]
    attention = module.attention
    assert isinstance(attention, nn.MultiheadAttention)
    w, b = attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3)
    q, k, v = (
        F.linear(x, wi, bi).unflatten(1, (2, 4)) for x, wi, bi in zip((cls[0], keys, keys), w, b, strict=True)
    )
    share = (torch.einsum("qhd,khd->hqk", q, k) / 2).softmax(2)
    attended = attention.out_proj(torch.einsum("hqk,khd->qhd", share, v).flatten(1))
    expected = module.norm1(cls[0] + attended)
    expected = module.norm2(expected + module.ffn(expected))
    assert torch.allclose(rows[0], expected, atol=1e-6)


@pytest.mark.parametrize("drop", ["zero", "mask"])
@pytest.mark.parametrize("projections", get_args(Projections))
def test_what_lies_in_an_absent_modality_changes_nothing(drop: str, projections: str) -> None:
    module = interaction(drop=drop, projections=projections)
    cls, patches = torch.randn(2, 3, 8), torch.randn(2, 3, 6, 8)
    present = torch.tensor([[True, False, True], [False, True, True]])
    rows, kept = module(cls, patches, present)
    noisy, again = module(
        torch.where(present[..., None], cls, 9.0),
        torch.where(present[..., None, None], patches, -9.0),
        present,
    )
    assert torch.equal(kept, again)
    assert not kept[~present].any()
    assert torch.allclose(rows[present], noisy[present], atol=1e-6)
    both, _ = module(cls[:1, [0, 2]], patches[:1, [0, 2]])
    assert torch.allclose(rows[0, [0, 2]], both[0], atol=1e-6)


def test_gradients_reach_patches_through_attention_but_not_the_scores() -> None:
    module = interaction(projections="learned", k=1)
    patches = torch.randn(2, 3, 6, 8, requires_grad=True)
    rows, kept = module(torch.randn(2, 3, 8), patches)
    rows.square().sum().backward()
    assert patches.grad is not None
    assert torch.equal(patches.grad.abs().sum(3) > 0, kept)
    silent = {n for n, p in module.named_parameters() if p.grad is None}
    assert silent == {
        f"selection.{n}.{part}" for n in ("query", "key", "value") for part in ("weight", "bias")
    }
