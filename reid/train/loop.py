"""The training loop in plain PyTorch: one process of one or many ranks, with or without Ray.

The caller supplies the configuration and an observer; the loop has no global state.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch

from reid import storage
from reid.config import Config
from reid.data.batches.collate import Collator
from reid.data.shards.shard_set import ShardSet
from reid.evaluate.protocols.choice import check_name
from reid.models.registry import build_model
from reid.nn.blockwise import run_blocks
from reid.nn.classifier.placement import classifiers_placed
from reid.nn.distributed import rank, world_size
from reid.runs.identities import training_labels
from reid.runs.run import model_context
from reid.train.classifiers.placement import classifier_placement
from reid.train.epoch import end_epoch, train_steps
from reid.train.finishing import finish_run
from reid.train.nonfinite.policy import NonFinitePolicy
from reid.train.optimizer import build_optimizer
from reid.train.reports import CheckpointPlace, EpochReport, Observers, TrainingObserver
from reid.train.setup import TrainingParts, distribute, initialise_from, training_loader, training_stream
from reid.train.state import StateSaver, TrainingProgress, keep_best, load_state
from reid.train.steps.averaging import WeightAverage, averaged_weights, forget_averages
from reid.train.steps.checkpoint_times import CheckpointTimes
from reid.train.steps.computing import block_run, tf32, validation_autocast
from reid.train.stopping import stops
from reid.train.tracking.observer import RunTracking
from reid.train.validation.checks import FIELD as VAL_PROTOCOL
from reid.train.validation.checks import check_early_stopping
from reid.train.validation.validate import Validator

log = logging.getLogger(__name__)


def train(
    config: Config,
    run_uri: str,
    resume: Path | None = None,
    device: torch.device | None = None,
    observer: TrainingObserver | None = None,
    finish: bool = True,
) -> dict[str, Any]:
    """Train to `train.epochs`, resuming from a state folder if given; rank 0 writes the run folder.

    Returns the last epoch's metrics with `steps` in all. `finish=False` writes no run folder (searches).
    Raises TrainingError for a loss that is not finite or too few identities, ConfigError for an unknown
    `train.val.protocol` or one under which no validation query has a match.
    """
    device, tell = device or torch.device("cpu"), log.warning if observer is None else observer.notice
    observer = observer or TrainingObserver()
    if not finish or rank() != 0:
        return _train(config, run_uri, resume, device, observer, finish)
    with RunTracking(config, storage.absolute(run_uri), tell) as tracking:
        return _train(config, run_uri, resume, device, Observers(tracking, observer), finish)


def _train(
    config: Config,
    run_uri: str,
    resume: Path | None,
    device: torch.device,
    observer: TrainingObserver,
    finish: bool,
) -> dict[str, Any]:
    check_name(config.train.val.protocol, VAL_PROTOCOL)  # a typing mistake is told before any work
    written, config = config, config.model_copy(update={"train": config.train.for_ranks(world_size())})
    torch.manual_seed(config.seed)  # equal initial weights on all ranks; steps are seeded per rank
    shards = ShardSet.open(str(config.data.shards))
    labels, held_out = training_labels(shards, config.train.val.fraction, config.seed)
    check_early_stopping(config.train, bool(held_out))
    with classifiers_placed(classifier_placement(config.train, len(labels.classes))):
        model = build_model(config.model, model_context(config, labels))
    if resume is None:  # a resumed state holds every weight
        if config.train.init_from:
            initialise_from(model, config.train.init_from)
        else:
            model.load_pretrained()
    model.to(device).train()
    way = block_run(config.train.compute, model, config.model.name, device)
    optimizer = build_optimizer(model, config.train.optim)
    average = WeightAverage(optimizer, decay) if (decay := config.train.ema.decay) else None
    progress = load_state(resume, model, optimizer) if resume else TrainingProgress()
    if average is None:  # the run that this one continues may have had some
        forget_averages(optimizer)
    stream = training_stream(config, shards, labels, model.auxiliary)
    steps = config.train.steps_per_epoch or stream.natural_steps
    validator = None
    if held_out:
        collator = Collator(config.data, labels.camera_labels, auxiliary=model.auxiliary)
        settings = config.train.val
        validator = Validator(shards, held_out, collator, settings.protocol, settings.gallery)
        validator.check(model)
    wrapped = distribute(model, config, device)
    arithmetic = tf32(config.train.compute.tf32)
    with training_loader(config, stream, device) as loader, run_blocks(way), arithmetic:
        parts = TrainingParts(config, model, wrapped, optimizer, loader, steps, device, progress, average)
        _run_epochs(parts, observer, validator, run_uri if finish else None)
    if average is not None:
        average.apply()
    if finish and rank() == 0:
        finish_run(written, run_uri, model, labels, shards, progress, validator)
    return {**progress.last, "steps": progress.step}


def _run_epochs(
    parts: TrainingParts,
    observer: TrainingObserver,
    validator: Validator | None,
    run_uri: str | None,
) -> None:
    """Epochs to the end, with their validations and checkpoints; bad steps are recorded in `run_uri`."""
    settings, progress = parts.config.train, parts.progress
    times = CheckpointTimes(settings.checkpoint, parts.device)
    after_bad = NonFinitePolicy(parts, observer, run_uri)

    def checkpoint(last: bool = False) -> None:
        place = CheckpointPlace(progress.epoch, progress.done, progress.step, progress.last, last)
        observer.checkpoint(place, StateSaver(parts.model, parts.optimizer, progress))
        times.saved()
        after_bad.remember()

    observer.begin(parts)
    stopped = stops(progress.validations, settings.stop_early, parts.device)
    while progress.epoch < settings.epochs and not stopped:
        bad = train_steps(parts, observer, times, checkpoint)
        if bad is not None:
            after_bad(bad)
            continue
        metrics = end_epoch(parts)
        last = progress.epoch == settings.epochs
        validated = validator is not None and (last or progress.epoch % settings.val.every_epochs == 0)
        if validator is not None and validated:
            with averaged_weights(parts.average), validation_autocast(parts.config, parts.device):
                found = validator(parts.model, parts.device)
                keep_best(progress, metrics | found, settings.checkpoint.best, parts.model)
            metrics |= found
            progress.validations.append({"epoch": progress.epoch, **found})
        progress.last = metrics
        stopped = stops(progress.validations, settings.stop_early, parts.device)
        last = last or stopped
        # A validated epoch may be the best one: its weights are a checkpoint of their own.
        if times.due_after(progress.epoch, progress.step, last) or validated:
            checkpoint(last)
        if rank() == 0:
            observer.epoch(EpochReport(progress.epoch, progress.step, metrics))
