"""Trunks cut before their last stage: torchvision's arithmetic and weights, and where these come from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from reid.errors import WeightsError
from reid.nn.towers.resnet import ResNetName, ResNetTrunk
from reid.nn.towers.torchvision_weights import torchvision_state

NONE = torch.zeros(0, 3, 64, 32)


def reference(arch: str) -> Any:
    """torchvision's, with random weights and statistics, and a last stage that keeps the resolution."""
    torch.manual_seed(0)
    model = torchvision.models.get_model(arch, weights=None)
    first = model.layer4[0]
    (first.conv2 if arch == "resnet50" else first.conv1).stride = (1, 1)
    first.downsample[0].stride = (1, 1)
    for name, buffer in model.named_buffers():
        if "running" in name:
            buffer.copy_(torch.rand_like(buffer) + 0.5)
    return model


def maps(model: Any, x: Tensor) -> Tensor:
    x = model.maxpool(model.relu(model.bn1(model.conv1(x))))
    out: Tensor = model.layer4(model.layer3(model.layer2(model.layer1(x))))
    return out


def shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(x.shape) for name, x in module.state_dict().items()}


@pytest.mark.parametrize("arch", ["resnet18", "resnet50"])
def test_names_and_shapes_are_torchvisions(arch: ResNetName) -> None:
    with torch.device("meta"):
        theirs = torchvision.models.get_model(arch, weights=None)
        ours = ResNetTrunk(arch)
    expected = {k: v for k, v in shapes(theirs).items() if not k.startswith("fc.")}
    assert shapes(ours) == expected
    last = ours.take_last()
    assert shapes(last) == shapes(theirs.layer4)
    assert not any(k.startswith("layer4") for k in ours.state_dict())


@pytest.mark.parametrize(
    ("arch", "two_stems"), [("resnet18", False), ("resnet50", False), ("resnet18", True)]
)
def test_with_torchvisions_weights_it_computes_torchvisions_maps(
    arch: ResNetName, two_stems: bool, tmp_path: Path
) -> None:
    model = reference(arch).eval()
    old = {k: v for k, v in model.state_dict().items() if "num_batches" not in k}  # as older files
    torch.save(old, tmp_path / "w.pth")
    trunk = ResNetTrunk(arch, two_stems=two_stems).eval()
    lasts = [trunk.take_last(), ResNetTrunk(arch).take_last().eval()]
    trunk.load(str(tmp_path / "w.pth"), lasts)
    x = torch.randn(3, 3, 64, 32)
    with torch.no_grad():
        expected = maps(model, x)
        shared = trunk(x[:2], x[2:])
        assert shared.shape == (3, trunk.shared, 4, 2)
        for last in lasts:
            assert torch.allclose(last(shared), expected, atol=1e-4 * float(expected.abs().max()))
        assert torch.allclose(trunk(NONE, x), shared, atol=1e-4 * float(shared.abs().max()))


def test_a_stem_of_its_own_learns_from_its_own_modality_only() -> None:
    trunk = ResNetTrunk("resnet18", base=4, two_stems=True)
    trunk(torch.randn(2, 3, 32, 16), NONE[:, :, :32, :16]).square().sum().backward()
    assert trunk.conv1.weight.grad is not None and trunk.conv1.weight.grad.any()
    assert trunk.conv1_infrared.weight.grad is not None and not trunk.conv1_infrared.weight.grad.any()


def test_the_first_width_scales_every_stage() -> None:
    trunk = ResNetTrunk("resnet50", base=8)
    assert (trunk.shared, trunk.channels) == (128, 256)
    assert trunk.take_last()(trunk(torch.zeros(1, 3, 64, 32), NONE)).shape == (1, 256, 4, 2)


# Where weights come from


def test_a_name_is_found_in_the_weights_folder_and_in_torchs_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ANYREID_WEIGHTS", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    cache = tmp_path / "torch" / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    torch.save({"x": torch.ones(1)}, cache / "resnet18-f37072fd.pth")
    assert torchvision_state("IMAGENET1K_V1", "resnet18")["x"] == 1
    folder = tmp_path / "own"
    (folder / "resnet18").mkdir(parents=True)
    torch.save({"x": torch.zeros(1)}, folder / "resnet18" / "IMAGENET1K_V1.pth")
    monkeypatch.setenv("ANYREID_WEIGHTS", str(folder))
    assert torchvision_state("IMAGENET1K_V1", "resnet18")["x"] == 0


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (
            "IMAGENET1K_V1",
            ["'IMAGENET1K_V1' for resnet50 are not on this machine", "(1)", "(2)", "(3)", "random"],
        ),
        ("IMAGENET1K_V3", ["no torchvision weights 'IMAGENET1K_V3'", "Did you mean 'IMAGENET1K_V"]),
        ("none/w.pth", ["none/w.pth: no such weights file", "(1)", "(2)", "(3)"]),
        ("run:runs/x", ["train.init_from"]),
    ],
)
def test_a_checkpoint_that_is_not_there_is_told_with_the_remedies(
    spec: str, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delenv("ANYREID_WEIGHTS", raising=False)
    with pytest.raises(WeightsError) as caught:
        torchvision_state(spec, "resnet50")
    for word in words:
        assert word in str(caught.value)


def test_a_checkpoint_that_does_not_fit_is_told_by_tensor(tmp_path: Path) -> None:
    trunk = ResNetTrunk("resnet18", base=8)
    lasts = [trunk.take_last()]
    torch.save(ResNetTrunk("resnet18", base=4).state_dict(), tmp_path / "w.pth")
    with pytest.raises(
        WeightsError, match=r"tensor 'conv1\.weight' of resnet18 is \(4, 3, 7, 7\), the model has"
    ):
        trunk.load(str(tmp_path / "w.pth"), lasts)
    torch.save({"conv1.weight": torch.zeros(8, 3, 7, 7)}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"resnet18 lacks \d+ tensors, first 'bn1\.weight'"):
        trunk.load(str(tmp_path / "w.pth"), lasts)
