"""Infrared images from a photo by an own U-Net, trained on aligned pairs by `python -m jobs.translate`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from reid.data.images import Pixels
from reid.errors import WeightsError
from reid.generate.registry import Generated, GeneratorInput, learned_generator
from reid.generate.weights import find_file, unfit_weights_error
from reid.modality import Modality, Target
from reid.nn.unet import load_unet


@learned_generator(
    "ir_unet",
    Target.NIR,
    Target.TIR,
    needs_weights=True,
    license_note="weights of your own training; they fall under the terms of the pairs they learned from",
)
class IrUnet:
    """A U-Net of RGB to one infrared band (Isola et al. 2017; InfraGAN's losses).

    (H, W, 3) -> (H, W). `at=trained` shows the network the picture at the size that it learned at and
    resizes the result back; `at=own` keeps the picture's size.
    """

    def __init__(
        self, *, weights: str, device: str = "cpu", at: Literal["trained", "own"] = "trained"
    ) -> None:
        """Raises WeightsError when the file is missing or is no translator from RGB."""
        self.net, notes = load_unet(find_file(weights))
        if self.net.config.inputs != 3 or notes.get("source", "rgb") != Modality.RGB.value:
            raise unfit_weights_error(weights, "a translator from rgb", f"it reads {notes.get('source')}")
        size = (int(notes.get("height", 0)), int(notes.get("width", 0)))
        if at == "trained" and not all(size):
            raise WeightsError(f"{weights}: has no size in its metadata; set params.at=own.")
        self.size = size if at == "trained" else None
        self.device = torch.device(device)
        self.net.to(self.device)
        self.step = 4 if self.device.type == "cpu" else 64

    @torch.inference_mode()
    def __call__(self, sources: Sequence[GeneratorInput]) -> list[Generated]:
        """One (H, W) uint8 a source."""
        made: list[Generated] = []
        for start in range(0, len(sources), self.step):
            made += self._translate([s.images[Modality.RGB] for s in sources[start : start + self.step]])
        return made

    def _translate(self, pictures: Sequence[Pixels]) -> list[Pixels]:
        planes = [
            torch.from_numpy(np.ascontiguousarray(p)).to(self.device).permute(2, 0, 1) for p in pictures
        ]
        shown = [_resize(p[None].float() / 127.5 - 1, self.size or (p.shape[1], p.shape[2])) for p in planes]
        alike = len({s.shape for s in shown}) == 1
        out = self.net(torch.cat(shown)).split(1) if alike else [self.net(s) for s in shown]
        return [_pixels(_resize(o, (p.shape[1], p.shape[2]))) for o, p in zip(out, planes, strict=True)]


def _resize(planes: Tensor, size: tuple[int, int]) -> Tensor:
    if planes.shape[-2:] == size:
        return planes
    return F.interpolate(planes, size, mode="bilinear", antialias=True)


def _pixels(planes: Tensor) -> Pixels:
    """(1, C, H, W) in [-1, 1] -> (H, W): the mean of the channels."""
    grey = (planes[0].mean(0) + 1) * 127.5
    made: Pixels = grey.clamp(0, 255).round().to(torch.uint8).cpu().numpy()
    return made
