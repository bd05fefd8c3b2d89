"""A checkpoint of another architecture is named as what it is; nothing of it is taken in silence."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from reid.errors import WeightsError
from reid.nn.towers.checkpoint_kinds import describe_state
from reid.nn.towers.clip import ImageTower, ImageTowerConfig
from reid.nn.towers.filling import check_blocks, fill
from reid.nn.towers.resnet import ResNetTrunk
from reid.nn.towers.weights import load_tower_weights

IMAGE = ImageTowerConfig(arch=None, patch=8, width=32, layers=2, heads=2, dim=16)


def clip_state(**sizes: int) -> dict[str, Tensor]:
    tower = ImageTower(IMAGE.model_copy(update=sizes), 32, 32)
    return {f"visual.{k}": v for k, v in tower.visual.state_dict().items()}


def complaint(state: dict[str, Tensor], folder: Path) -> str:
    torch.save(state, folder / "w.pt")
    with pytest.raises(WeightsError) as caught:
        load_tower_weights(str(folder / "w.pt"), ImageTower(IMAGE, 32, 32), None, None)
    told = str(caught.value)
    assert "w.pt" in told
    return told


@pytest.mark.parametrize(
    ("sizes", "told"),
    [
        ({"width": 48}, "patch 8, width 48, 2 blocks, dim 16"),
        ({"dim": 24}, "dim 24"),
        ({"patch": 16}, "patch 16"),
        ({"layers": 1}, "lacks"),
        ({"layers": 5}, "has 2 blocks, the checkpoint 5"),
    ],
)
def test_towers_of_other_sizes_are_told_with_their_own(
    sizes: dict[str, int], told: str, tmp_path: Path
) -> None:
    assert told in complaint(clip_state(**sizes), tmp_path)


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["layer1.0.conv1.weight", "layer1.0.conv3.weight"], "a ResNet of torchvision's names"),
        (["visual.layer1.0.conv1.weight"], "a CLIP with a ResNet"),
        (["visual.trunk.blocks.0.norm1.weight"], "a tower of timm's"),
        (["vision_model.embeddings.patch_embedding.weight"], "a SigLIP"),
        (["vision_model.visual.conv1.weight", "text_model.ln_final.bias"], "Hugging Face's way of naming"),
        (["image_tower.visual.proj"], "a run of this program"),
        (["BACKBONE.base.proj"], r"jobs.convert"),
        (["fc.weight"], "1 tensors of an unknown network (first 'fc.weight')"),
    ],
)
def test_other_networks_are_told_by_name(names: list[str], told: str, tmp_path: Path) -> None:
    assert told in complaint({name: torch.ones(1, 1, 1, 1) for name in names}, tmp_path)


def test_a_part_of_a_network_is_described_without_its_sizes() -> None:
    part = {"visual.class_embedding": torch.ones(8)}
    assert describe_state(part) == "1 tensors of an unknown network (first 'visual.class_embedding')"


def test_a_deeper_resnet_is_not_cut_to_size(tmp_path: Path) -> None:
    trunk = ResNetTrunk("resnet50", base=8)
    lasts = [trunk.take_last()]
    state = ResNetTrunk("resnet50", base=8).state_dict()
    for name in [n for n in state if n.startswith("layer3.5.")]:  # resnet101 goes on with equal blocks
        for block in range(6, 23):
            state[name.replace("layer3.5.", f"layer3.{block}.")] = state[name]
    torch.save(state, tmp_path / "resnet101.pth")
    with pytest.raises(WeightsError, match=r"resnet50 has 6 blocks, the checkpoint 23.*\(resnet101\)"):
        trunk.load(str(tmp_path / "resnet101.pth"), lasts)


def test_counters_of_batches_may_lack_and_others_may_not() -> None:
    norm = nn.BatchNorm1d(2)
    state = {k: v for k, v in nn.BatchNorm1d(2).state_dict().items() if k != "num_batches_tracked"}
    fill(norm, state, "w.pt", "the norm")
    del state["running_var"]
    with pytest.raises(WeightsError, match=r"weights 'w\.pt': the norm lacks 1 tensors, first 'running_var'"):
        fill(norm, state, "w.pt", "the norm")


def test_equal_numbers_of_blocks_pass() -> None:
    check_blocks({"blocks.0.a": torch.ones(1), "blocks.1.a": torch.ones(1)}, "blocks.", 2, "w.pt", "it")
