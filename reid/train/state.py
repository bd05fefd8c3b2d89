"""Resumable training state: a folder with one file that loads without unpickling code.

It contains no random generators. Batches and augmentation are functions of (seed, epoch, step, rank), and
torch's own generator (dropout, routing noise) is seeded at the start of every epoch, so one rank's state file
resumes every rank exactly.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

STATE_FILE = "state.pt"


@dataclass
class TrainingProgress:
    """Where a run is: epochs and steps done, the best validation so far, and what was logged."""

    epoch: int = 0
    step: int = 0
    best_metric: float | None = None
    best_weights: dict[str, Tensor] | None = None
    history: list[dict[str, Any]] = field(default_factory=list)


def epoch_seed(seed: int, rank: int, epoch: int) -> int:
    """The seed of torch's generators in [0, 2^64), different for each rank and epoch."""
    return int(np.random.SeedSequence([seed, rank, epoch]).generate_state(1, np.uint64)[0])


def save_state(
    folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, progress: TrainingProgress
) -> None:
    """Write everything that resuming needs, between two epochs."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(
        {
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "progress": vars(progress),
        },
        folder / STATE_FILE,
    )


def load_state(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> TrainingProgress:
    """Restore model and optimiser in place; return the progress."""
    tree = torch.load(folder / STATE_FILE, map_location="cpu", weights_only=True)
    model.load_state_dict(tree["model"])
    optimizer.load_state_dict(tree["optimizer"])
    return TrainingProgress(**tree["progress"])
