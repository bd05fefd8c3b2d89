"""The picture-to-picture U-Net, its discriminator, and its file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from reid.config.sections.translate import UNetConfig
from reid.errors import WeightsError
from reid.nn.unet import PatchDiscriminator, UNet, load_unet, save_unet

TINY = UNetConfig(width=4, depth=3)


@pytest.mark.parametrize("size", [(16, 8), (17, 9), (5, 23)])
@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_a_picture_of_any_size_keeps_it_and_stays_in_range(size: tuple[int, int], norm: str) -> None:
    net = UNet(UNetConfig.model_validate({"width": 4, "depth": 3, "norm": norm}))
    made = net(torch.rand(1, 3, *size) * 2 - 1)
    assert made.shape == (1, 1, *size)
    assert made.abs().max() <= 1


def test_the_deepest_network_of_the_paper_reaches_one_pixel_and_trains_on_one_picture() -> None:
    net = UNet(UNetConfig(width=1, depth=8, norm="batch", dropout=0.5))
    made = net.train()(torch.rand(1, 3, 256, 256))
    made.mean().backward()
    assert all(p.grad is not None for p in net.parameters())


def test_widths_double_to_eight_times_the_first() -> None:
    net = UNet(UNetConfig(width=64, depth=8))
    widths = [m.out_channels for m in net.down.modules() if isinstance(m, torch.nn.Conv2d)]
    assert widths == [64, 128, 256, 512, 512, 512, 512, 512]  # Isola et al., appendix 6.1.1


def test_detail_passes_by_the_bottleneck() -> None:
    """With the innermost layer silenced, the output still follows the input pixel by pixel."""
    torch.manual_seed(0)
    net = UNet(TINY).eval()
    torch.nn.init.zeros_(net.down[-1][-1].weight)
    x = torch.rand(1, 3, 16, 16)
    y = x.clone()
    y[..., 3, 3] += 0.5
    assert (net(x) - net(y)).abs().max() > 1e-4


def test_the_discriminator_judges_patches() -> None:
    assert PatchDiscriminator(4, width=4)(torch.zeros(2, 4, 32, 16)).shape == (2, 1, 4, 2)


def test_a_file_brings_the_sizes_and_gives_the_same_pictures(tmp_path: Path) -> None:
    path = str(tmp_path / "x.safetensors")
    net = UNet(TINY).eval()
    save_unet(path, net, {"source": "rgb"})
    loaded, notes = load_unet(path)
    x = torch.rand(1, 3, 16, 8)
    assert torch.equal(loaded(x), net(x))
    assert notes["source"] == "rgb" and loaded.config == TINY


def test_other_files_are_refused_by_what_they_lack(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match="no translator of AnyReID"):
        load_unet(str(path))
    save_file({"a": torch.zeros(1)}, path, {"anyreid.unet": TINY.model_dump_json()})
    with pytest.raises(WeightsError, match="not a whole translator"):
        load_unet(str(path))
    path.write_bytes(b"not safetensors at all")
    with pytest.raises(WeightsError, match="a text file that begins"):
        load_unet(str(path))
