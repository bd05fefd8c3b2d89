"""Resumable training state: a folder with one file that loads without unpickling code."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

STATE_FILE = "state.pt"


@dataclass
class Progress:
    """Where a run is: epochs and steps done, the best validation so far, and what was logged."""

    epoch: int = 0
    step: int = 0
    best_metric: float | None = None
    best_weights: dict[str, Tensor] | None = None
    history: list[dict[str, Any]] = field(default_factory=list)


def save_state(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress) -> None:
    """Write everything that resuming needs."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(
        {
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "torch_rng": torch.get_rng_state(),
            "progress": vars(progress),
        },
        folder / STATE_FILE,
    )


def load_state(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> Progress:
    """Restore model, optimiser and generator in place; return the progress."""
    tree = torch.load(folder / STATE_FILE, map_location="cpu", weights_only=True)
    model.load_state_dict(tree["model"])
    optimizer.load_state_dict(tree["optimizer"])
    torch.set_rng_state(tree["torch_rng"])
    return Progress(**tree["progress"])
