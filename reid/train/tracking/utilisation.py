"""Model FLOP utilisation: the share of a device's peak that the model's own arithmetic takes."""

from __future__ import annotations

import torch

from reid.config import Config
from reid.modality import ORDER
from reid.models.base import ReIDModel
from reid.runs.describe import gmac

PEAK_TFLOPS = {
    "B200": 2250.0,
    "H200": 989.0,
    "H100 PCIe": 756.0,
    "H100": 989.0,
    "GH200": 989.0,
    "A100": 312.0,
    "A40": 149.7,
    "A30": 165.0,
    "A10G": 70.0,
    "A10": 125.0,
    "L40S": 362.0,
    "L40": 181.0,
    "L4": 121.0,
    "RTX 6000 Ada": 364.0,
    "RTX A6000": 154.8,
    "RTX 4090": 165.2,
    "RTX 3090": 71.0,
    "MI300X": 1307.0,
    "MI250X": 383.0,
}
"""Dense bf16 peaks by what a device's name contains, from the vendors' data sheets; the longest match counts.
An MFU is told against this peak whatever the precision, so that runs in fp32 compare with those in bf16."""
_PASSES = 3.0
"""Forward once, backward twice: once for the inputs, once for the weights. Recomputing counts as nothing."""


def peak_tflops(device_name: str) -> float | None:
    """10^12 operations per second of a device by its name; None where it is not known.

    >>> peak_tflops("NVIDIA H100 80GB HBM3"), peak_tflops("NVIDIA H100 PCIe"), peak_tflops("Abacus")
    (989.0, 756.0, None)
    """
    found = [name for name in PEAK_TFLOPS if _contains(device_name, name)]
    return PEAK_TFLOPS[max(found, key=len)] if found else None


def peak_of(config: Config, device: torch.device) -> float | None:
    """The peak of the device that trains: as set, or by its name; None on a CPU and where it is unknown."""
    if config.train.tracking.peak_tflops is not None:
        return config.train.tracking.peak_tflops
    return peak_tflops(torch.cuda.get_device_name(device)) if device.type == "cuda" else None


def training_flops(config: Config, model: ReIDModel) -> float:
    """Operations of one training step for one row with all its modalities.

    What is frozen or missing in a row is counted all the same, so this is an upper bound.
    """
    random, mode = torch.get_rng_state(), model.training
    modalities = tuple(m for m in ORDER if m in model.query_modalities)
    try:
        each = gmac(model, modalities, config.data.height, config.data.width, prune=False)
    finally:
        torch.set_rng_state(random)  # counting changes nothing of the training
        model.train(mode)
    return _PASSES * 2e9 * each


def utilisation(rows_per_s: float, flops_per_row: float, peak_tflops: float, devices: int) -> float:
    """The share of the devices' peak, 0 to 1.

    Args:
        rows_per_s: of all devices together.
        flops_per_row: as `training_flops` counts.
        peak_tflops: of one device.
        devices: how many train.

    >>> utilisation(1000.0, 100e9, 400.0, 1)
    0.25
    """
    return rows_per_s * flops_per_row / (1e12 * peak_tflops * devices)


def _contains(device_name: str, name: str) -> bool:
    """As whole words: an A100 is no A10."""
    padded = f" {device_name.replace('-', ' ')} "
    return f" {name} " in padded or padded.startswith(f" {name} ")
