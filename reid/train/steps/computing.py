"""What `train.compute` stands for: arithmetic, and the way in which encoders run their blocks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

from reid.config import Config
from reid.config.sections.training.compute import ComputeConfig
from reid.errors import ConfigError
from reid.models.base import ReIDModel
from reid.nn.blockwise import BlockRun
from reid.nn.compiled_blocks import try_compiler


def block_run(settings: ComputeConfig, model: ReIDModel, name: str, device: torch.device) -> BlockRun:
    """The way in which the encoder of a system called `name` runs in training.

    Raises ConfigError when it cannot take a batch in parts.
    """
    if settings.accumulate > 1 and model.mixes_rows:
        raise ConfigError(
            f"train.compute.accumulate: {settings.accumulate} parts of a batch would not give {name}'s step "
            f"of the whole batch: {model.mixes_rows}. Set it to 1; train.compute.checkpoint_activations=true "
            "saves memory with every system."
        )
    compiles = settings.compile == "blocks" and try_compiler(device) is None
    return BlockRun(settings.checkpoint_activations, settings.accumulate, compiles)


def autocast(config: Config, device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """bf16 autocast if the configuration sets it."""
    return torch.autocast(device.type, torch.bfloat16, enabled=config.train.compute.precision == "bf16")


def validation_autocast(config: Config, device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """That of training, unless validation is to be in float32."""
    same = config.train.compute.validation == "same"
    return autocast(config, device) if same else contextlib.nullcontext()


@contextlib.contextmanager
def tf32(setting: bool | None) -> Iterator[None]:
    """TF32 for float32 products and convolutions on NVIDIA GPUs; None leaves torch's settings.

    They belong to the process: after the block they are what they were.
    """
    if setting is None:
        yield
        return
    was = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("high" if setting else "highest")
    torch.backends.cudnn.allow_tf32 = setting
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(was[0])
        torch.backends.cudnn.allow_tf32 = was[1]
