"""The optimiser steps of an epoch on one rank.

A step is a function of the state before it and of its place: its batch, its learning rates and torch's
generators follow from (seed, rank, epoch, step), so training goes on from the middle of an epoch to the bit.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import torch

from reid.models.base import Output
from reid.nn.classifier.layer import begin_step
from reid.nn.distributed import local_statistics, rank, world_size
from reid.train.classifiers.placement import clip_gradients
from reid.train.loading.transfer import on_device
from reid.train.nonfinite.bad_step import BadStep, is_bad
from reid.train.nonfinite.guard import StepGuard
from reid.train.optimizer import set_learning_rates
from reid.train.reports import StepReport, TrainingObserver
from reid.train.setup import TrainingParts
from reid.train.state import TrainingProgress, seed_generators, step_seed
from reid.train.steps.checkpoint_times import CheckpointTimes
from reid.train.steps.computing import autocast
from reid.train.steps.metrics import StepMetrics, Taken, Window, means


def total_loss(output: Output) -> torch.Tensor:
    """Sum of the weighted losses."""
    return torch.stack(list(output.losses.values())).sum()


def train_steps(
    parts: TrainingParts,
    observer: TrainingObserver,
    times: CheckpointTimes,
    checkpoint: Callable[[], None],
) -> BadStep | None:
    """The steps from `progress.done` to the end of the epoch; the progress holds the sums of their numbers.

    Between two steps `checkpoint` is called whenever one is due.
    Ends early, and returns it, at a step whose loss or gradient is not finite. Weights and progress are then
    those before that step, whenever it was noticed.
    """
    config, progress, steps, device = parts.config, parts.progress, parts.steps, parts.device
    optimizer, optim = parts.optimizer, parts.config.train.optim
    recent, window, guard = StepMetrics(device), Window(device), StepGuard(parts.model, optimizer, device)
    names: list[Any] = []  # of the samples of the recent batches
    parts.model.train()
    scope = contextlib.nullcontext() if config.train.global_statistics else local_statistics()
    made = on_device(parts.loader.epoch(progress.epoch, steps, start=progress.done), device)
    with scope, contextlib.closing(made) as batches:  # type: ignore[type-var]
        for step in range(progress.done, steps):
            with window.waiting():
                batch = next(batches)
            seed_generators(step_seed(config.seed, rank(), progress.epoch, step), device)
            set_learning_rates(optimizer, optim, progress.epoch + step / steps, config.train.epochs)
            begin_step(parts.model, config.seed, progress.step + len(recent))
            for group in optimizer.param_groups:
                group["lr"] *= progress.lr_factor
            guard.before()
            with autocast(config, device):
                output: Output = parts.wrapped(batch)
                loss = total_loss(output)
            optimizer.zero_grad(set_to_none=True)
            guard.backward(loss)
            norm = clip_gradients(parts.model, optim.clip_norm)
            recent.add(output, loss, norm)
            names.append(batch.sample_id)
            guard.step(norm)
            window.rows += len(batch) * world_size()
            save = times.due_at(progress.step + len(recent)) and step + 1 < steps
            if not (save or guard.noticed() or len(recent) >= config.train.log_every or step + 1 == steps):
                continue
            taken, numbers = window.close(), recent.fetch()
            good = next((i for i, values in enumerate(numbers) if is_bad(values)), len(numbers))
            _count(progress, numbers[:good], taken)
            if good < len(numbers):
                return BadStep(progress.epoch, progress.done, numbers[good], names[good])
            names.clear()
            if rank() == 0:
                metrics = {**means(numbers), **_rates(optimizer), **taken.metrics(len(numbers))}
                observer.step(StepReport(progress.epoch, progress.done, steps, progress.step, metrics))
            if step + 1 < steps and (times.due_now() or save):
                checkpoint()
                window.close()
    return None


def end_epoch(parts: TrainingParts) -> dict[str, Any]:
    """Close the epoch in the progress; its mean losses and throughput."""
    progress = parts.progress
    counted, seconds, rows = progress.counted, progress.seconds, progress.rows
    found = {name: total / counted for name, total in progress.sums.items()} or {"loss": float("nan")}
    progress.epoch += 1
    progress.done = progress.counted = progress.rows = 0
    progress.sums, progress.seconds = {}, 0.0
    skipped = sum(event["epoch"] == progress.epoch - 1 for event in progress.events)
    return {
        "epoch": progress.epoch,
        "step": progress.step,
        **found,
        "lr": parts.optimizer.param_groups[0]["lr"],
        **({"nonfinite": skipped} if skipped else {}),
        "rows_per_s": rows / max(seconds, 1e-9),
        "seconds": seconds,
    }


def _count(progress: TrainingProgress, numbers: list[dict[str, float]], taken: Taken) -> None:
    """Add finished steps to the progress one by one, so that the sums are those of any other division."""
    for values in numbers:
        for name, value in values.items():
            progress.sums[name] = progress.sums.get(name, 0.0) + value
    progress.done += len(numbers)
    progress.counted += len(numbers)
    progress.step += len(numbers)
    progress.rows += taken.rows
    progress.seconds += taken.seconds


def _rates(optimizer: torch.optim.Optimizer) -> dict[str, float]:
    """The learning rate of the first group as `lr`, and with several groups those of all."""
    rates = [float(group["lr"]) for group in optimizer.param_groups]
    return {"lr": rates[0]} | ({f"lr/{i}": rate for i, rate in enumerate(rates)} if len(rates) > 1 else {})
