"""The training loop in plain PyTorch: one process of one or many ranks, with or without Ray.

The caller supplies the shard set, the rank and a `report` hook; the loop has no global state.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from reid import storage
from reid.config import Config
from reid.data.batches.collate import Collator, PixelCache
from reid.data.batches.stream import BatchStream, StreamPlace
from reid.data.shards.shard_set import ShardSet
from reid.errors import TrainingError
from reid.evaluate.protocols.choice import check_name
from reid.models.base import Auxiliary, Output, ReIDModel
from reid.models.registry import build_model
from reid.nn.distributed import local_statistics, rank, world_size
from reid.nn.parameters import parameter_counts
from reid.nn.towers.checkpoint_kinds import describe_state
from reid.runs.auxiliary_record import auxiliary_record
from reid.runs.folder import RunFolder, write_run
from reid.runs.identities import LabelMap, training_labels
from reid.runs.run import model_context
from reid.storage.run_files import read_weights
from reid.train.calibrate import calibration_of
from reid.train.checks import FIELD as VAL_PROTOCOL
from reid.train.checks import validation_notes
from reid.train.optimizer import build_optimizer, set_learning_rates
from reid.train.state import TrainingProgress, epoch_seed, load_state, save_state
from reid.train.validate import Validator


@dataclass
class EpochReport:
    """The result of an epoch: metrics, and a function that writes a checkpoint."""

    epoch: int
    metrics: dict[str, Any]
    save: Callable[[Path], None]
    checkpoint_due: bool


Report = Callable[[EpochReport], None]
Tick = Callable[[int, int, float], None]
"""Called after a step with (steps done in the epoch, steps of the epoch, loss)."""


def train(
    config: Config,
    run_uri: str,
    resume: Path | None = None,
    device: torch.device | None = None,
    report: Report | None = None,
    tick: Tick | None = None,
    finish: bool = True,
) -> dict[str, Any]:
    """Train to `train.epochs`, resuming from a state folder if given; rank 0 writes the run folder.

    Returns the last epoch's metrics with `steps` in all. `finish=False` writes no run folder (searches).
    Raises TrainingError for a loss that is not finite or too few identities, ConfigError for an unknown
    `train.val.protocol` or one under which no validation query has a match.
    """
    device = device or torch.device("cpu")
    check_name(config.train.val.protocol, VAL_PROTOCOL)  # a typing mistake is told before any work
    torch.manual_seed(config.seed)  # equal initial weights on all ranks; epochs are seeded per rank
    shards = ShardSet.open(str(config.data.shards))
    labels, held_out = training_labels(shards, config.train.val.fraction, config.seed)
    model = build_model(config.model, model_context(config, labels))
    if resume is None:  # a resumed state holds every weight
        if config.train.init_from:
            initialise_from(model, config.train.init_from)
        else:
            model.load_pretrained()
    model.to(device).train()
    optimizer = build_optimizer(model, config.train.optim)
    progress = load_state(resume, model, optimizer) if resume else TrainingProgress()
    stream = training_stream(config, shards, labels, model.auxiliary)
    steps = config.train.steps_per_epoch or stream.natural_steps
    validator = None
    if held_out and rank() == 0:
        collator = Collator(config.data, labels.camera_labels, auxiliary=model.auxiliary)
        settings = config.train.val
        validator = Validator(shards, held_out, collator, settings.protocol, settings.gallery)
        validator.check(model)
    wrapped = distribute(model, config, device)
    while progress.epoch < config.train.epochs:
        metrics = _epoch(config, wrapped, optimizer, stream, progress, steps, device, tick)
        due = progress.epoch % config.train.val.every_epochs == 0 or progress.epoch == config.train.epochs
        if validator is not None and due:
            metrics |= validator(model, device)
            _keep_best(progress, metrics["val/mAP"], model)
        progress.history.append(metrics)
        if report is not None:
            last = progress.epoch == config.train.epochs
            save_due = last or progress.epoch % config.train.checkpoint_every == 0
            report(EpochReport(progress.epoch, metrics, _saver(model, optimizer, progress), save_due))
    if finish and rank() == 0:
        finish_run(config, run_uri, model, labels, shards, progress, validator)
    return {**(progress.history[-1] if progress.history else {}), "steps": progress.step}


def training_stream(
    config: Config, shards: ShardSet, labels: LabelMap, auxiliary: frozenset[Auxiliary] = frozenset()
) -> BatchStream:
    """This rank's training batches, with the auxiliary inputs that the model uses."""
    collator = Collator(
        config.data,
        labels.camera_labels,
        config.train.augment,
        cache=PixelCache(config.data.cache_mib * 2**20),
        auxiliary=auxiliary,
    )
    place = StreamPlace(config.seed, rank(), world_size())
    return BatchStream(shards, labels.labels, config.data.modalities, config.train.batch, collator, place)


def distribute(model: ReIDModel, config: Config, device: torch.device) -> nn.Module:
    """Wrap in DistributedDataParallel when there are several ranks."""
    if world_size() == 1:
        return model
    return DistributedDataParallel(
        model,
        device_ids=[device] if device.type == "cuda" else None,
        broadcast_buffers=not config.train.global_statistics,  # else BN sees the same rows on every rank
        find_unused_parameters=config.train.find_unused_parameters,
    )


def initialise_from(model: ReIDModel, uri: str) -> None:
    """Copy each tensor of a run or a file of weights that has an equal name and shape (heads may differ).

    Raises TrainingError when none fits, WeightsError when there are no weights.
    """
    given = read_weights(uri)
    own = model.state_dict()
    fitting = {k: v for k, v in given.items() if k in own and own[k].shape == v.shape}
    if not any(v.ndim for v in fitting.values()):  # counters fit every model
        raise TrainingError(
            f"train.init_from: nothing in {uri} fits this model; it holds {describe_state(given)}."
        )
    own.update(fitting)
    model.load_state_dict(own)


def total_loss(output: Output) -> torch.Tensor:
    """Sum of the weighted losses."""
    return torch.stack(list(output.losses.values())).sum()


def _epoch(
    config: Config,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    stream: BatchStream,
    progress: TrainingProgress,
    steps: int,
    device: torch.device,
    tick: Tick | None,
) -> dict[str, Any]:
    """One epoch of optimiser steps; mean losses and throughput."""
    optim = config.train.optim
    sums: dict[str, float] = defaultdict(float)
    rows, started = 0, time.perf_counter()
    torch.manual_seed(epoch_seed(config.seed, rank(), progress.epoch))  # CUDA's generators too
    model.train()
    scope = contextlib.nullcontext() if config.train.global_statistics else local_statistics()
    with scope:
        batches = stream.epoch(progress.epoch, steps, threads=config.train.loader_threads)
        for step, batch in enumerate(batches):
            set_learning_rates(optimizer, optim, progress.epoch + step / steps, config.train.epochs)
            with autocast(config, device):
                output: Output = model(batch.to(device))
                loss = total_loss(output)
            value = float(loss.detach())
            if not math.isfinite(value):
                parts = {k: float(v.detach()) for k, v in output.losses.items()}
                raise TrainingError(
                    f"Loss is {value} at epoch {progress.epoch}, step {step}: {parts}. Lower train.optim.lr, "
                    "lengthen train.optim.warmup_epochs, or use train.precision=fp32."
                )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            if optim.clip_norm is not None:
                nn.utils.clip_grad_norm_(model.parameters(), optim.clip_norm)
            optimizer.step()
            progress.step += 1
            rows += len(batch) * world_size()
            sums["loss"] += value
            for name, number in _scalars(output, device).items():
                sums[name] += number
            if tick is not None:
                tick(step + 1, steps, value)
    progress.epoch += 1
    seconds = time.perf_counter() - started
    return {
        "epoch": progress.epoch,
        "step": progress.step,
        **{name: total / steps for name, total in sums.items()},
        "lr": optimizer.param_groups[0]["lr"],
        "rows_per_s": rows / seconds,
        "seconds": seconds,
    }


def _scalars(output: Output, device: torch.device) -> dict[str, float]:
    """Losses and statistics as numbers, fetched from the device at once."""
    found = {f"loss/{k}": v.detach() for k, v in output.losses.items()}
    found |= {f"stat/{k}": torch.as_tensor(v, device=device) for k, v in output.stats.items()}
    values = torch.stack([v.float().reshape(()) for v in found.values()]).tolist()
    return dict(zip(found, values, strict=True))


def autocast(config: Config, device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """bf16 autocast if the configuration sets it."""
    return torch.autocast(device.type, torch.bfloat16, enabled=config.train.precision == "bf16")


def _keep_best(progress: TrainingProgress, metric: float, model: ReIDModel) -> None:
    if progress.best_metric is None or metric > progress.best_metric:
        progress.best_metric = metric
        progress.best_weights = {k: v.detach().cpu().clone() for k, v in model.state_dict().items()}


def _saver(
    model: ReIDModel, optimizer: torch.optim.Optimizer, progress: TrainingProgress
) -> Callable[[Path], None]:
    def save(folder: Path) -> None:
        save_state(folder, model, optimizer, progress)

    return save


def finish_run(
    config: Config,
    uri: str,
    model: ReIDModel,
    labels: LabelMap,
    shards: ShardSet,
    progress: TrainingProgress,
    validator: Validator | None = None,
) -> RunFolder:
    """Write the run folder with the best validated weights, or the last ones without validation.

    Those weights are calibrated on the identities of `validator`.
    """
    if progress.best_weights is not None:
        model.load_state_dict(progress.best_weights)
    info = {
        "name": config.name,
        "status": "finished",
        "selection": "last epoch" if progress.best_weights is None else "best val/mAP",
        "best_metric": progress.best_metric,
        "validation": None if validator is None else validator.protocol.name,
        "validation_identities": 0 if validator is None else validator.identities,
        "validation_note": " ".join(validation_notes(validator.identities)) or None if validator else None,
        "epochs": progress.epoch,
        "steps": progress.step,
        "data_fingerprint": shards.fingerprint,
        "generators": shards.manifest.generators,
        "auxiliary": auxiliary_record(model.auxiliary, shards.manifest.generators),
        "parameters": parameter_counts(model),
    }
    device = next(model.parameters()).device
    calibration = calibration_of(config, shards, validator, model, device)
    return write_run(storage.absolute(uri), config, model, labels, progress.history, info, calibration)
