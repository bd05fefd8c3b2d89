"""Resumable training state: a folder of files that load without unpickling code.

```
weights.safetensors      the model
optimizer.safetensors    the optimiser's tensors, by parameter
progress.json            where the run is, and what was logged
best.safetensors         only where a run is resumed: the best validated weights so far;
best-optimizer.safetensors   the optimiser's tensors of then, among them averages of weights
classifiers-rank-*       of classifiers that are split over ranks: the rows of one each
```
It contains no random generators. Batches and augmentation are functions of (seed, epoch, step, rank), and
torch's own generators (dropout, routing noise) are seeded by them at the start of every step, so one rank's
state resumes every rank exactly, at any step.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from reid.config.typed import did_you_mean
from reid.errors import ConfigError, WeightsError
from reid.nn.classifier.layer import embedding_state, split_parameters
from reid.nn.distributed import rank
from reid.train.classifiers.state import add_own_rows, copied_split_state
from reid.train.steps.averaging import AVERAGE

WEIGHTS_FILE = "weights.safetensors"
OPTIMIZER_FILE = "optimizer.safetensors"
PROGRESS_FILE = "progress.json"
BEST_FILE = "best.safetensors"
BEST_OPTIMIZER_FILE = "best-optimizer.safetensors"
_OF = "::"
"""Between a tensor of the optimiser and its parameter: exp_avg::head.weight."""


@dataclass
class TrainingProgress:
    """Where a run is, and the best validation so far.

    Args:
        epoch, done: whole epochs, and steps of the one after them.
        step: steps in all, those that were skipped included.
        sums, counted, rows, seconds: of the steps of the unfinished epoch; `counted` leaves skipped ones out.
        lr_factor: multiplies all learning rates, lowered by every return to a checkpoint.
        events: the places of steps that were not finite.
        best_weights: kept in memory; a checkpoint does not hold them, since they are one of its own.
        last: the last epoch's metrics.
        validations: what each validation found, with its `epoch`.
    """

    epoch: int = 0
    done: int = 0
    step: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    counted: int = 0
    rows: int = 0
    seconds: float = 0.0
    lr_factor: float = 1.0
    events: list[dict[str, int]] = field(default_factory=list)
    best_metric: float | None = None
    best_weights: dict[str, Tensor] | None = None
    last: dict[str, Any] = field(default_factory=dict)
    validations: list[dict[str, Any]] = field(default_factory=list)


def step_seed(seed: int, rank: int, epoch: int, step: int) -> int:
    """The seed of torch's generators in [0, 2^64) for a step, different for each rank."""
    return int(np.random.SeedSequence([seed, rank, epoch, step]).generate_state(1, np.uint64)[0])


def seed_generators(seed: int, device: torch.device) -> None:
    """Seed torch's generators of the main memory and, on a GPU, of all GPUs.

    `torch.manual_seed` does this too, but notes its caller wherever CUDA is not used, which takes longer than
    a small step.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed_all(seed)


def save_state(
    folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, progress: TrainingProgress
) -> None:
    """Write everything that resuming needs."""
    StateSaver(model, optimizer, progress)(folder)


@dataclass(frozen=True)
class StateSaver:
    """Writes one rank's files of a training's state: a `reid.train.reports.Save`.

    Rank 0 writes what every rank has alike, and each rank its rows of split classifiers.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    progress: TrainingProgress

    @property
    def on_every_rank(self) -> bool:
        """Whether every rank has files."""
        return bool(split_parameters(self.model))

    def __call__(self, folder: Path) -> bool:
        """Write the state as it is now, with the best weights so far; whether this rank has files."""
        wrote, best = self.copied()(folder), self.progress.best_weights
        if rank() == 0 and best is not None:
            save_file(best, folder / BEST_FILE)
        return wrote

    def copied(self) -> Callable[[Path], bool]:
        """Copy the state to the CPU; what is returned writes that copy."""
        write_rows = copied_split_state(self.model, self.optimizer)
        if rank() != 0:
            return write_rows
        weights = {name: _copy(x) for name, x in embedding_state(self.model).items()}
        tensors = {name: _copy(x) for name, x in _optimizer_tensors(self.model, self.optimizer).items()}
        text = json.dumps(_plain(self.progress), sort_keys=True)

        def write(folder: Path) -> bool:
            folder.mkdir(parents=True, exist_ok=True)
            write_rows(folder)
            save_file(weights, folder / WEIGHTS_FILE)
            save_file(tensors, folder / OPTIMIZER_FILE)
            (folder / PROGRESS_FILE).write_text(text)
            return True

        return write


def load_state(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> TrainingProgress:
    """Restore model and optimiser in place; return the progress.

    Rates and decays of the optimiser's groups stay those of the configuration. Raises WeightsError for a
    state of another model, naming the tensor that differs.
    """
    weights = _own(load_file(folder / WEIGHTS_FILE))
    tree = {**optimizer.state_dict(), "state": _by_place(folder, model, optimizer)}
    add_own_rows(folder, weights, tree, model, optimizer)
    _check(model.state_dict(), weights, folder)
    model.load_state_dict(weights)
    optimizer.load_state_dict(tree)
    progress = TrainingProgress(**json.loads((folder / PROGRESS_FILE).read_text()))
    if (folder / BEST_FILE).exists():
        progress.best_weights = _best(folder)
    else:  # none was measured, or it is damaged: the best of what follows is the best
        progress.best_metric = None
    return progress


def keep_best(progress: TrainingProgress, metrics: Mapping[str, Any], metric: str, model: nn.Module) -> None:
    """Remember the weights if this validation is the best so far; the first of equals stays.

    Raises ConfigError for a metric that the validation does not measure.
    """
    if metric not in metrics:
        known = [name for name in metrics if name.startswith("val/") and name != "val/identities"]
        raise ConfigError(f"train.checkpoint.best: {metric!r} is not measured.{did_you_mean(metric, known)}")
    value = float(metrics[metric])
    if progress.best_metric is None or value > progress.best_metric:
        progress.best_metric = value
        if rank() == 0:  # who writes the run keeps them
            progress.best_weights = {name: _copy(x) for name, x in embedding_state(model).items()}


def _copy(x: Tensor) -> Tensor:
    return x.detach().to("cpu", copy=True).contiguous()


def _plain(progress: TrainingProgress) -> dict[str, Any]:
    return {name: value for name, value in vars(progress).items() if name != "best_weights"}


def _names(model: nn.Module) -> dict[int, str]:
    return {id(parameter): name for name, parameter in model.named_parameters()}


def _optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """What the optimiser knows of every parameter but split classifiers."""
    names, apart = _names(model), split_parameters(model)
    return {
        f"{key}{_OF}{names[id(parameter)]}": value
        for parameter, entries in optimizer.state.items()
        for key, value in entries.items()
        if names[id(parameter)] not in apart
    }


def _by_place(
    folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer
) -> dict[int, dict[str, Tensor]]:
    """The optimiser's tensors by the numbers that parameters have in it now."""
    names = _names(model)
    ordered = [names[id(p)] for group in optimizer.param_groups for p in group["params"]]
    number = {name: i for i, name in enumerate(ordered)}
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in _own(load_file(folder / OPTIMIZER_FILE)).items():
        kind, _, name = key.partition(_OF)
        if name in number:  # a continued run may have frozen it
            state.setdefault(number[name], {})[kind] = value
    return state


def _best(folder: Path) -> dict[str, Tensor]:
    """The best weights; where weights are averaged, the averages of then, which are what was measured."""
    weights = _own(load_file(folder / BEST_FILE))
    if (folder / BEST_OPTIMIZER_FILE).exists():
        tensors = _own(load_file(folder / BEST_OPTIMIZER_FILE)).items()
        averages = {key.removeprefix(AVERAGE + _OF): x for key, x in tensors if key.startswith(AVERAGE + _OF)}
        weights |= {name: x for name, x in averages.items() if name in weights}
    return weights


def _own(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copies: tensors that are read lie in the mapped file, and would change or vanish with it."""
    return {name: x.clone() for name, x in tensors.items()}


def _check(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor], folder: Path) -> None:
    """Raise WeightsError naming the first tensor that is missing, strange or of another shape."""
    for name in [*wanted, *given]:
        ours, theirs = wanted.get(name), given.get(name)
        if ours is None or theirs is None:
            where = "the checkpoint" if theirs is None else "this model"
            raise WeightsError(f"{folder}: a state of another model: {name} is not in {where}.")
        if ours.shape != theirs.shape:
            raise WeightsError(
                f"{folder}: a state of another model or of other classes: {name} is {list(theirs.shape)} "
                f"there, {list(ours.shape)} here."
            )
