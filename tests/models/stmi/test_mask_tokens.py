"""Masks on the grid of patches: coverage, threshold, fallbacks, and what training raises."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from reid.models.stmi.mask_tokens import perturbed, token_mask

GRID = (4, 2)  # patches of 8 x 8 in a picture of 32 x 16


def masks(*filled: float) -> Tensor:
    """A mask a row; the first patch of each is filled from the left to this share, the last wholly."""
    found = torch.zeros(len(filled), 1, 32, 16)
    for row, share in enumerate(filled):
        found[row, 0, :8, : round(8 * share)] = 1
        found[row, 0, -8:, -8:] = 1
    return found


def everyone(mask: Tensor) -> Tensor:
    return torch.ones(len(mask), dtype=torch.bool)


def test_a_patch_is_foreground_from_the_threshold_of_its_covered_share_on() -> None:
    mask = masks(0, 0.375, 0.5, 1)
    found = token_mask(mask, everyone(mask), GRID)
    assert found.usable.all()
    assert found.tokens.shape == (4, 9)
    assert found.tokens[:, 0].all(), "the class token is foreground"
    assert found.tokens[:, 1].tolist() == [False, False, True, True]
    assert found.tokens[:, -1].all() and not found.tokens[:, 2:-1].any()


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({"theta": 0.3}, [False, True, True, True]),
        ({"theta": 1.0}, [False, False, False, True]),
        ({"overlap": "any"}, [False, True, True, True]),
    ],
)
def test_the_threshold_is_a_choice(how: dict[str, object], expected: list[bool]) -> None:
    mask = masks(0, 0.375, 0.5, 1)
    assert token_mask(mask, everyone(mask), GRID, **how).tokens[:, 1].tolist() == expected  # type: ignore[arg-type]


def test_empty_full_and_missing_masks_are_not_usable_and_foreground_throughout() -> None:
    mask = masks(1, 0, 0, 0)
    mask[1] = 0
    mask[2] = 1
    present = torch.tensor([True, True, True, False])
    found = token_mask(mask, present, GRID)
    assert found.usable.tolist() == [True, False, False, False]
    assert found.tokens[1:].all()
    none = token_mask(None, present, GRID)
    assert not none.usable.any()
    assert none.tokens.all()
    assert none.tokens.shape == (4, 9)


def test_a_mask_over_more_than_95_percent_of_the_patches_tells_nothing() -> None:
    grid = (10, 10)
    mask = torch.ones(2, 1, 40, 40)
    mask[0, 0, :4, :20] = 0  # 5 of 100 patches
    mask[1, 0, :4, :16] = 0  # 4
    assert token_mask(mask, everyone(mask), grid).usable.tolist() == [True, False]


def test_a_mask_of_another_size_is_pooled_to_the_grid() -> None:
    large = masks(1).repeat_interleave(2, 2).repeat_interleave(2, 3)
    small = masks(1)
    assert torch.equal(
        token_mask(large, everyone(large), GRID).tokens, token_mask(small, everyone(small), GRID).tokens
    )


def test_training_raises_background_patches_by_chance_and_never_lowers_foreground() -> None:
    mask = torch.zeros(400, 1, 32, 16)
    mask[:, :, :16] = 1
    found = token_mask(mask, everyone(mask), GRID)
    moved = perturbed(found, 0.2)
    assert moved.tokens[found.tokens].all()
    assert abs(float(moved.tokens[~found.tokens].float().mean()) - 0.2) < 0.04
    assert not torch.equal(moved.tokens, perturbed(found, 0.2).tokens), "drawn anew"
    assert perturbed(found, 0) is found
    assert perturbed(found, 1).tokens.all()
    assert torch.equal(moved.usable, found.usable)


def test_rows_are_picked_by_index() -> None:
    mask = masks(1, 0)
    found = token_mask(mask, everyone(mask), GRID)
    picked = found[torch.tensor([1, 1, 0])]
    assert picked.tokens[:, 1].tolist() == [False, False, True]
    assert picked.usable.shape == (3,)
