"""The towers are open_clip's, taken apart: same numbers, any input size."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from reid.data.batches.tokens import tokenize
from reid.errors import ConfigError, WeightsError
from reid.nn.towers.clip import (
    ImageTower,
    ImageTowerConfig,
    TextTower,
    TextTowerConfig,
    resize_positions,
    resolved_image_config,
)

TINY = ImageTowerConfig(arch=None, patch=8, width=32, layers=2, heads=2, dim=16)
TEXTS = ["a red car", "a person in a long blue coat with a bag", "x"]


@pytest.fixture(scope="module")
def text_tower() -> TextTower:
    torch.manual_seed(0)
    return TextTower(TextTowerConfig(width=32, layers=2, heads=2), dim=16).eval()


def tower(height: int, width: int, **changes: object) -> ImageTower:
    return ImageTower(TINY.model_copy(update=changes), height, width).eval()


@pytest.mark.parametrize(("height", "width", "grid"), [(64, 32, (8, 4)), (16, 48, (2, 6)), (24, 8, (3, 1))])
def test_an_image_of_any_shape_becomes_one_projected_token_a_patch(
    height: int, width: int, grid: tuple[int, int]
) -> None:
    image_tower = tower(height, width)
    assert image_tower.grid == grid
    tokens = image_tower(torch.randn(3, 3, height, width))
    assert tokens.shape == (3, 1 + grid[0] * grid[1], 16)


def test_an_image_that_the_patch_grid_does_not_cover_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"20x15 is no multiple of the tower's patch of 8; use e.g. 16x16"):
        tower(20, 15)


@pytest.mark.parametrize("prune", [True, False])
def test_the_class_feature_is_the_first_token_of_the_full_forward(prune: bool) -> None:
    image_tower = tower(32, 16)
    images, bias = torch.randn(4, 3, 32, 16), torch.randn(4, 32)
    feature = image_tower.class_feature(images, bias, prune)
    assert torch.allclose(feature, image_tower(images, bias)[:, 0], atol=1e-6)
    assert not torch.allclose(feature, image_tower.class_feature(images), atol=1e-3)


def test_a_pruned_last_block_has_the_gradients_of_the_whole_one() -> None:
    image_tower = tower(32, 16)
    images, weights = torch.randn(4, 3, 32, 16), torch.randn(4, 16)
    gradients = []
    for prune in (True, False):
        image_tower.zero_grad()
        (image_tower.class_feature(images, prune=prune) * weights).sum().backward()
        gradients.append({n: p.grad.clone() for n, p in image_tower.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys() == dict(image_tower.named_parameters()).keys()
    for name, gradient in gradients[0].items():
        assert torch.allclose(gradient, gradients[1][name], atol=1e-5), name


def test_a_replaced_ffn_sees_the_normed_tokens_and_adds_to_the_residual() -> None:
    image_tower = tower(32, 16)
    tokens = image_tower.patchify(torch.randn(2, 3, 32, 16))
    last = image_tower.blocks[1]
    again = image_tower.encode(tokens, {1: last.mlp})
    assert torch.allclose(again, image_tower.encode(tokens), atol=1e-6)
    without = image_tower.encode(tokens, {1: torch.zeros_like})
    seen = last.ln_2(without)
    assert torch.allclose(without + last.mlp(seen), again, atol=1e-6)
    one = image_tower.encode(tokens, {1: last.mlp}, class_only=True)
    assert one.shape == (2, 1, 32) and torch.allclose(one[:, 0], again[:, 0], atol=1e-6)


def test_a_block_without_an_ffn_has_no_parameters_of_it() -> None:
    bare = ImageTower(TINY, 32, 16, without_ffn=[1])
    gone = dict(tower(32, 16).named_parameters()).keys() - dict(bare.named_parameters()).keys()
    assert gone == {
        f"visual.transformer.resblocks.1.mlp.{n}"
        for n in ("c_fc.weight", "c_fc.bias", "c_proj.weight", "c_proj.bias")
    }


def test_the_class_bias_is_added_to_the_class_token_alone() -> None:
    image_tower = tower(32, 16)
    images, bias = torch.randn(2, 3, 32, 16), torch.randn(2, 32)
    difference = image_tower.patchify(images, bias) - image_tower.patchify(images)
    assert torch.allclose(difference[:, 0], bias, atol=1e-6)
    assert not difference[:, 1:].any()


@pytest.mark.parametrize("quick_gelu", [True, False])
def test_on_a_square_image_the_tower_equals_open_clips_own_forward(quick_gelu: bool) -> None:
    from open_clip.transformer import QuickGELU, VisionTransformer

    image_tower = tower(32, 32, quick_gelu=quick_gelu)
    reference = VisionTransformer(
        image_size=32,
        patch_size=8,
        width=32,
        layers=2,
        heads=2,
        mlp_ratio=4.0,
        output_dim=16,
        act_layer=QuickGELU if quick_gelu else torch.nn.GELU,
    ).eval()
    reference.load_state_dict(image_tower.visual.state_dict())
    images = torch.randn(2, 3, 32, 32)
    assert torch.allclose(image_tower.class_feature(images), reference(images), atol=1e-6)


def test_quick_gelu_is_another_function_than_gelu() -> None:
    quick, exact = tower(32, 16, quick_gelu=True), tower(32, 16, quick_gelu=False)
    exact.load_state_dict(quick.state_dict())
    images = torch.randn(2, 3, 32, 16)
    assert not torch.allclose(quick.class_feature(images), exact.class_feature(images), atol=1e-5)


def test_no_images_give_no_rows_but_a_gradient_for_every_parameter() -> None:
    image_tower = tower(32, 16)
    bias = torch.zeros(0, 32, requires_grad=True)
    features = image_tower.class_feature(torch.zeros(0, 3, 32, 16), bias)
    assert features.shape == (0, 16)
    features.sum().backward()
    assert bias.grad is not None
    assert all(p.grad is not None and not p.grad.any() for p in image_tower.parameters())


def test_arch_stands_for_open_clips_sizes() -> None:
    found = resolved_image_config(ImageTowerConfig(arch="ViT-B-32"))
    assert (found.patch, found.width, found.layers, found.heads, found.dim) == (32, 768, 12, 12, 512)
    assert not found.quick_gelu
    assert resolved_image_config(ImageTowerConfig(arch="ViT-B-16-quickgelu")).quick_gelu
    assert resolved_image_config(TINY) == TINY


@pytest.mark.parametrize("arch", ["RN50", "ViT-L-14-CLIPA", "ViT-M-16-alt", "ViT-g-14", "no-such"])
def test_an_architecture_that_the_tower_would_build_wrongly_is_refused(arch: str) -> None:
    with pytest.raises(ConfigError, match=r"model\.tower\.arch.*ViT-B-16"):
        resolved_image_config(ImageTowerConfig(arch=arch))


def test_the_text_feature_equals_open_clips_own_forward(text_tower: TextTower) -> None:
    tokens = tokenize(TEXTS)
    with torch.inference_mode():
        assert torch.allclose(text_tower.feature(tokens), text_tower.text(tokens), atol=1e-6)


def test_cutting_to_the_longest_text_changes_nothing(text_tower: TextTower) -> None:
    tokens = tokenize(TEXTS)
    longest = int(tokens.argmax(1).max()) + 1
    assert longest < tokens.shape[1]
    with torch.inference_mode():
        uncut = text_tower(tokens)
        assert torch.allclose(text_tower(tokens[:, :longest]), uncut[:, :longest], atol=1e-6)
        alone = torch.cat([text_tower.feature(row[None]) for row in tokens])
        assert torch.allclose(text_tower.feature(tokens), alone, atol=1e-6)


def test_a_text_is_read_up_to_its_end_token_only(text_tower: TextTower) -> None:
    tokens = tokenize(TEXTS[:1])
    behind = tokens.clone()
    behind[:, int(tokens.argmax()) + 1 :] = 7
    before = tokens.clone()
    before[:, 1] = 7
    with torch.inference_mode():
        plain = text_tower.feature(tokens)
        assert torch.allclose(text_tower.feature(behind), plain, atol=1e-6)
        assert not torch.allclose(text_tower.feature(before), plain, atol=1e-3)


def test_no_texts_give_no_rows_but_a_gradient_for_every_parameter() -> None:
    text = TextTower(TextTowerConfig(width=16, layers=1, heads=1, vocab=32), dim=8)
    features = text.feature(torch.zeros(0, 1, dtype=torch.int64))
    assert features.shape == (0, 8)
    features.sum().backward()
    assert all(p.grad is not None and not p.grad.any() for p in text.parameters())


@pytest.mark.parametrize("grid", [(16, 8), (8, 16), (7, 7), (20, 20)])
def test_positions_are_resized_bilinearly_and_the_class_row_is_kept(grid: tuple[int, int]) -> None:
    table = torch.randn(1 + 14 * 14, 5)
    resized = resize_positions(table, grid)
    assert torch.equal(resized[0], table[0])
    picture = table[1:].reshape(14, 14, 5).permute(2, 0, 1)[None]
    reference = F.interpolate(picture, size=grid, mode="bilinear", align_corners=False)
    assert torch.allclose(resized[1:], reference[0].permute(1, 2, 0).reshape(-1, 5))


def test_the_resized_grid_keeps_rows_as_rows() -> None:
    """A table that only varies down the image still varies only down it."""
    table = torch.cat([torch.zeros(1), torch.arange(4.0).repeat_interleave(4)])[:, None]
    resized = resize_positions(table, (8, 2))[1:].reshape(8, 2)
    assert torch.equal(resized[:, 0], resized[:, 1])
    assert (resized[1:, 0] >= resized[:-1, 0]).all()


def test_positions_of_the_same_grid_are_untouched() -> None:
    table = torch.randn(1 + 32, 5)
    assert resize_positions(table, (8, 4), (8, 4)) is table


def test_a_table_that_is_not_the_stated_grid_is_an_error() -> None:
    with pytest.raises(WeightsError, match="32 patches is not a 5x5 grid"):
        resize_positions(torch.randn(1 + 32, 5), (4, 4))


def test_half_precision_positions_stay_half_precision() -> None:
    table: Tensor = torch.randn(1 + 16, 5).half()
    assert resize_positions(table, (8, 2)).dtype == torch.float16
