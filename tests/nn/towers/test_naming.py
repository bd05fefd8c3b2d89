"""Checkpoints of transformers and timm compute here what they compute there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from reid.errors import WeightsError
from reid.nn.towers.clip import ImageTower, ImageTowerConfig, TextTower, TextTowerConfig
from reid.nn.towers.naming import our_names
from reid.nn.towers.weights import load_tower_weights

IMAGE = ImageTowerConfig(arch=None, patch=8, width=32, layers=2, heads=4, dim=16)
TEXT = TextTowerConfig(width=24, layers=2, heads=2, vocab=64)
END = 63


@pytest.fixture(scope="module")
def clip() -> Any:
    """A tiny random CLIPModel with the activation of the original."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(4)
    vision = {"hidden_size": 32, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    text = {"hidden_size": 24, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = transformers.CLIPConfig(
        vision_config=vision | {"image_size": 32, "patch_size": 8, "hidden_act": "quick_gelu"},
        text_config=text | {"vocab_size": 64, "eos_token_id": END, "hidden_act": "quick_gelu"},
        projection_dim=16,
    )
    return transformers.CLIPModel(config).eval()


def features(output: Any) -> Tensor:
    """What the library returns, in older and newer versions."""
    tensor: Tensor = getattr(output, "pooler_output", output)
    return tensor


@pytest.mark.parametrize("before", ["", "module.", "model._orig_mod."])
def test_transformers_clip_gives_its_own_features(clip: Any, before: str, tmp_path: Path) -> None:
    torch.save({"state_dict": {before + k: v for k, v in clip.state_dict().items()}}, tmp_path / "hf.pt")
    image, text = ImageTower(IMAGE, 32, 32).eval(), TextTower(TEXT, IMAGE.dim).eval()
    load_tower_weights(str(tmp_path / "hf.pt"), image, text, None)
    pictures = torch.randn(3, 3, 32, 32)
    ids = torch.randint(1, 60, (2, 77))
    ids[0, 9] = ids[1, 30] = END
    with torch.inference_mode():
        there = features(clip.get_image_features(pixel_values=pictures))
        assert torch.allclose(image.class_feature(pictures), there, atol=1e-5)
        assert torch.allclose(text.feature(ids), features(clip.get_text_features(input_ids=ids)), atol=1e-5)


def test_what_the_library_saves_is_read(clip: Any, tmp_path: Path) -> None:
    clip.save_pretrained(tmp_path)
    image = ImageTower(IMAGE, 32, 32)
    load_tower_weights(str(tmp_path / "model.safetensors"), image, None, None)
    assert torch.equal(image.visual.proj, clip.visual_projection.weight.T)


def test_a_tower_without_its_projection_is_told_as_such(clip: Any, tmp_path: Path) -> None:
    state = {k: v for k, v in clip.state_dict().items() if k.startswith("vision_model.")}
    torch.save(state, tmp_path / "vision.pt")
    with pytest.raises(WeightsError, match=r"lacks 1 tensors, first 'proj'.*patch 8, width 32, 2 blocks"):
        load_tower_weights(str(tmp_path / "vision.pt"), ImageTower(IMAGE, 32, 32), None, None)


@pytest.mark.parametrize("loaded_as", ["ViTModel", "ViTForImageClassification"])
@pytest.mark.parametrize("saved", [True, False])
def test_transformers_vit_gives_the_features_of_torchvision(
    loaded_as: str, saved: bool, tmp_path: Path
) -> None:
    transformers = pytest.importorskip("transformers")
    from safetensors.torch import load_file
    from torchvision.models import VisionTransformer

    config = transformers.ViTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        image_size=32,
        layer_norm_eps=1e-6,
    )
    theirs = getattr(transformers, loaded_as)(config).eval()
    theirs.save_pretrained(tmp_path)
    state = load_file(tmp_path / "model.safetensors") if saved else theirs.state_dict()
    ours = VisionTransformer(32, 16, 2, 4, 32, 64, num_classes=1).eval()
    found = {k: v for k, v in our_names(state).items() if k in ours.state_dict()}
    lacking = ours.load_state_dict(found, strict=False).missing_keys
    assert set(lacking) == {"heads.head.weight", "heads.head.bias"}
    ours.heads = torch.nn.Identity()
    pictures = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        base = theirs if loaded_as == "ViTModel" else theirs.vit
        there = base(pixel_values=pictures).last_hidden_state[:, 0]
        assert torch.allclose(ours(pictures), there, atol=1e-4)


@pytest.mark.parametrize("layer_type", ["basic", "bottleneck"])
def test_transformers_resnet_gives_the_maps_of_torchvision(layer_type: str) -> None:
    transformers = pytest.importorskip("transformers")
    from torchvision.models import resnet18, resnet50

    deep = layer_type == "bottleneck"
    sizes = [256, 512, 1024, 2048] if deep else [64, 128, 256, 512]
    depths = [3, 4, 6, 3] if deep else [2, 2, 2, 2]
    config = transformers.ResNetConfig(hidden_sizes=sizes, depths=depths, layer_type=layer_type)
    theirs = transformers.ResNetModel(config).eval()
    ours = (resnet50 if deep else resnet18)(weights=None).eval()
    ours.fc = torch.nn.Identity()
    ours.load_state_dict(our_names(theirs.state_dict()))
    pictures = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        there = theirs(pixel_values=pictures).pooler_output.flatten(1)
        assert torch.allclose(ours(pictures), there, atol=1e-3, rtol=1e-3)


def test_timm_names_become_torchvision_names() -> None:
    names = ["cls_token", "pos_embed", "patch_embed.proj.weight", "blocks.3.attn.qkv.bias", "norm.bias"]
    assert list(our_names({name: torch.ones(1) for name in names})) == [
        "class_token",
        "encoder.pos_embedding",
        "conv_proj.weight",
        "encoder.layers.encoder_layer_3.self_attention.in_proj_bias",
        "encoder.ln.bias",
    ]


@pytest.mark.parametrize("other", ["blocks.0.ls1.gamma", "register_tokens", "blocks.0.attn.q_norm.weight"])
def test_networks_of_another_arithmetic_keep_their_names(other: str) -> None:
    state = {"patch_embed.proj.weight": torch.ones(1), "cls_token": torch.ones(1), other: torch.ones(1)}
    assert our_names(state) == state


def test_open_clip_models_with_a_text_tower_of_their_own_are_read() -> None:
    state = {"visual.proj": torch.ones(1), "text.token_embedding.weight": torch.ones(1)}
    assert list(our_names(state)) == ["visual.proj", "token_embedding.weight"]
