"""Tiny STMIs, and batches of any subset a row with captions and masks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch

from reid.config.typed import check
from reid.data.batches.batch import Batch
from reid.modality import parse_subset
from reid.models.base import ModelContext
from reid.models.stmi.model import Config, Model

MakeBatch = Callable[..., Batch]
CAMERAS = "rgb+nir+tir"
DIM, HEIGHT, WIDTH = 16, 32, 16
TINY: dict[str, Any] = {  # 8 x 4 patches
    "tower": {"arch": None, "patch": 4, "width": 32, "layers": 2, "heads": 2, "dim": DIM},
    "text": {"width": 16, "layers": 1, "heads": 1, "vocab": 64},
    "heads": 4,
}
STILL: dict[str, Any] = {"caption_dropout": 0.0, "sfm": {"flip": 0.0}}
"""Nothing random in training."""


def stmi(modalities: str = CAMERAS, cameras: int = 3, seed: int = 1, **fields: Any) -> Model:
    """A tiny STMI in evaluation mode, its identity-like parts moved so that they show."""
    torch.manual_seed(seed)
    config = check(Config, {**TINY, **fields}, "model")
    model = Model(config, ModelContext(4, cameras, HEIGHT, WIDTH, parse_subset(modalities))).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in ("text_null", "sfm.alpha", "sfm.beta") or name.startswith("chi"):
                parameter.add_(0.3 * torch.rand_like(parameter))
    return model


def with_auxiliaries(
    batch: Batch, captions: Sequence[bool] | bool = True, masks: Sequence[bool] | bool = True, seed: int = 7
) -> Batch:
    """The batch with a random caption and a mask of a random rectangle for the rows that have one."""
    n, draw = len(batch), torch.Generator().manual_seed(seed)
    tokens = torch.randint(1, 60, (n, 12), generator=draw)
    tokens[torch.arange(n), torch.randint(2, 12, (n,), generator=draw)] = 63  # the end token
    mask = torch.zeros(n, 1, HEIGHT, WIDTH)
    for row, (top, left) in enumerate(torch.randint(0, 8, (n, 2), generator=draw).tolist()):
        mask[row, :, top : top + 20, left : left + 8] = 1
    has = [torch.tensor([x] * n if isinstance(x, bool) else list(x)) for x in (captions, masks)]
    return replace(
        batch,
        caption=tokens * has[0][:, None],
        caption_present=has[0],
        mask=mask * has[1][:, None, None, None],
        mask_present=has[1],
    )
