"""A tiny network of random weights for every generator that loads one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from reid.modality import Target
from tests.support.models.tiny_sam import save_sam
from tests.support.models.tiny_vlm import save_blip, save_llava


def _unet(folder: Path) -> str:
    from reid.config.sections.translate import UNetConfig
    from reid.nn.unet import UNet, save_unet

    file = str(folder / "unet.safetensors")
    save_unet(file, UNet(UNetConfig(width=2, depth=2)).eval(), {"source": "rgb"})
    return file


def _teed(folder: Path) -> str:
    from safetensors.torch import save_file

    from reid.generate.sketch.teed_network import Teed

    file = str(folder / "teed.safetensors")
    save_file(Teed().state_dict(), file)
    return file


def _saved_by(save: Callable[[Path], None]) -> Callable[[Path], str]:
    def make(folder: Path) -> str:
        save(folder)
        return str(folder)

    return make


_NETWORKS: dict[str, tuple[Target, Callable[[Path], str], dict[str, Any]]] = {
    "ir_unet": (Target.NIR, _unet, {"at": "own"}),
    "mask_sam": (Target.MASK, _saved_by(save_sam), {}),
    "sketch_teed": (Target.SKETCH, _teed, {}),
    "cap_blip": (Target.TEXT, _saved_by(save_blip), {"max_tokens": 4}),
    "cap_vlm": (Target.TEXT, _saved_by(save_llava), {"keep": "all", "min_confidence": 0}),
}
NAMES = sorted(_NETWORKS)


def network_section(name: str, folder: Path) -> tuple[Target, dict[str, Any]]:
    """What the generator makes, and its section of a configuration; its weights are saved in `folder`."""
    target, save, params = _NETWORKS[name]
    folder.mkdir(parents=True, exist_ok=True)
    return target, {"generator": name, "params": {"weights": save(folder), **params}}
