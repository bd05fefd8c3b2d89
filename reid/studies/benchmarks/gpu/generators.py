"""Generators on a device: pictures a second, and that they make what the CPU makes. Random weights."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from reid.config import GenerateConfig
from reid.config.sections.translate import UNetConfig
from reid.data.synthetic import SyntheticConfig, make_identity, render_capture
from reid.generate.registry import Generated, GeneratedMask, GeneratorInput, bind
from reid.generate.sketch.teed_network import Teed
from reid.modality import Modality, Target
from reid.nn.unet import UNet, save_unet
from reid.studies.benchmarks.timing import BenchmarkRow, compare

CLOSE = 2 / 255
"""Mean difference of pictures in [0, 1] that rounding on another device explains."""
CPU = torch.device("cpu")


def generator_rows(
    pictures: int, repeats: int, device: torch.device, sam: bool = True
) -> Iterator[BenchmarkRow]:
    """The sketch and the infrared network, and `sam` (ViT-B): rate on `device`, ratio to the CPU's."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        teed, unet, mask = (f"{folder}/{name}" for name in ("teed.pth", "unet.safetensors", "sam.pth"))
        torch.save(Teed().state_dict(), teed)
        save_unet(unet, UNet(UNetConfig()), {"source": "rgb", "height": "256", "width": "128"})
        cases = [
            (Target.SKETCH, GenerateConfig(generator="sketch_teed", params={"weights": teed})),
            (Target.NIR, GenerateConfig(generator="ir_unet", params={"weights": unet})),
        ]
        if sam:
            _write_sam(mask)
            cases.append((Target.MASK, GenerateConfig(generator="mask_sam", params={"weights": mask})))
        for target, section in cases:
            yield from _rows(target, section, rendered_inputs(pictures), repeats, device)


def _rows(
    target: Target,
    section: GenerateConfig,
    inputs: Sequence[GeneratorInput],
    repeats: int,
    device: torch.device,
) -> Iterator[BenchmarkRow]:
    bound, name = bind(target, section), section.generator
    here, there = bound.load("cpu"), bound.load(str(device))
    few = inputs[: max(1, len(inputs) // 8)]
    seconds = compare({"cpu": lambda: here(few)}, repeats, CPU)["cpu"].seconds / len(few)
    ours = compare({name: lambda: there(inputs)}, repeats, device)[name].seconds / len(inputs)
    yield BenchmarkRow(f"{name}: pictures a second", 1 / ours, "1/s", 1 / seconds, seconds / ours)
    found = max(map(_difference, here(few), there(few)))
    yield BenchmarkRow(f"{name}: difference to CPU", found, "", CLOSE, CLOSE / max(found, 1e-12), 1)


def _difference(a: Generated, b: Generated) -> float:
    """Mean difference of two results in [0, 1]; 1 for results of different kinds."""
    if isinstance(a, GeneratedMask) and isinstance(b, GeneratedMask):
        return float((a.mask != b.mask).mean())
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return float(np.abs(a.astype(np.float64) - b).mean()) / 255
    return 0.0 if type(a) is type(b) else 1.0


def rendered_inputs(count: int) -> list[GeneratorInput]:
    """Rendered people, 256 x 128."""
    renderer = SyntheticConfig(height=256, width=128, num_cameras=2)
    return [
        GeneratorInput(
            f"picture-{i}",
            {Modality.RGB: render_capture(renderer, make_identity(renderer, i), 0, 0).rgb},
            None,
            np.random.default_rng(i),
        )
        for i in range(count)
    ]


def _write_sam(path: str) -> None:
    from segment_anything import sam_model_registry

    torch.save(sam_model_registry["vit_b"]().state_dict(), Path(path))
