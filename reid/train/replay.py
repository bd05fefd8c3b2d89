"""Replays a step that was not finite from its folder, and finds where the numbers first go wrong."""

from __future__ import annotations

import contextlib
import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from reid import storage
from reid.config import Config, load
from reid.data.batches.batch import Batch, join
from reid.data.batches.stream import StreamPlace
from reid.data.shards.shard_set import ShardSet
from reid.errors import UsageError
from reid.models.base import Output, ReIDModel
from reid.models.registry import build_model
from reid.nn.classifier.layer import begin_step
from reid.nn.classifier.placement import ClassifierPlacement, classifiers_placed
from reid.nn.distributed import local_statistics
from reid.runs.identities import LabelMap, training_labels
from reid.runs.run import model_context
from reid.train.epoch import total_loss
from reid.train.nonfinite.repro_folder import CONFIG_FILE, REPRO_FILE, by_modality
from reid.train.optimizer import build_optimizer
from reid.train.setup import training_stream
from reid.train.state import TrainingProgress, load_state, seed_generators
from reid.train.steps.computing import autocast


@dataclass(frozen=True)
class Replay:
    """What a replayed step gave.

    Args:
        epoch, step: its place.
        recorded, losses: the losses by term, then and now.
        weights: parameters that were not finite before the step.
        module: the first module whose output is not finite, in the order of the forward pass.
        gradients: parameters whose gradient is not finite.
        same_batch: whether the batch consists of the recorded samples.
    """

    epoch: int
    step: int
    recorded: dict[str, float]
    losses: dict[str, float]
    weights: tuple[str, ...]
    module: str | None
    gradients: tuple[str, ...]
    same_batch: bool

    def lines(self) -> list[str]:
        """For a terminal.

        >>> nan = math.nan
        >>> found = Replay(1, 4, {"id": nan}, {"id": nan}, (), "head.norm", ("head.norm.weight",), True)
        >>> print(*found.lines(), sep="\\n")
        epoch 1, step 4
          loss id: nan (recorded: nan)
          first output that is not finite: of head.norm
          first gradient that is not finite: of head.norm.weight (1 in all)
        """
        found = [f"epoch {self.epoch}, step {self.step}"]
        if not self.same_batch:
            found.append("  the batch is not the recorded one: the shard set or its reading changed")
        for name, value in self.losses.items():
            found.append(f"  loss {name}: {value:g} (recorded: {self.recorded.get(name, math.nan):g})")
        for what, names in (("weight", self.weights), ("gradient", self.gradients)):
            if what == "gradient":
                where = f"of {self.module}" if self.module else "none; every module's output is finite"
                found.append(f"  first output that is not finite: {where}")
            if names:
                found.append(f"  first {what} that is not finite: of {names[0]} ({len(names)} in all)")
            elif what == "gradient":
                found.append("  every gradient is finite: the step cannot be repeated here")
        return found


def replay(uri: str, device: torch.device | None = None) -> Replay:
    """Take the forward and backward pass of a recorded step again; the state is that before it.

    With statistics over all ranks the batches of all are joined; else it is that of the first rank whose loss
    was not finite. Raises UsageError for a folder that holds no such record.
    """
    if not storage.exists(storage.join(uri, REPRO_FILE)):
        raise UsageError(
            f"{uri}: no {REPRO_FILE} in it; name a folder below <run>/nonfinite, e.g. epoch-0001-step-000004."
        )
    device = device or torch.device("cpu")
    record = storage.read_json(storage.join(uri, REPRO_FILE))
    config = load(storage.read_json(storage.join(uri, CONFIG_FILE)))
    shards = ShardSet.open(str(config.data.shards))
    labels, _ = training_labels(shards, config.train.val.fraction, config.seed)
    with classifiers_placed(ClassifierPlacement(sampling=config.train.classifier.sampling)):
        model = build_model(config.model, model_context(config, labels)).to(device).train()
    progress = _load(uri, model, config)
    begin_step(model, config.seed, progress.step)
    weights = tuple(n for n, p in model.named_parameters() if not bool(p.isfinite().all()))
    ranks = record["ranks"]
    first = next((r for r in ranks if not math.isfinite(r["values"]["loss"])), ranks[0])
    chosen = ranks if config.train.global_statistics else [first]
    batches = [_batch(config, shards, labels, model, record, r["rank"]) for r in chosen]
    same = all(by_modality(b.sample_id) == r["samples"] for b, r in zip(batches, chosen, strict=True))
    seed_generators(first["seed"], device)
    met: list[str] = []
    with _watched(model, met), local_statistics(), autocast(config, device):
        output: Output = model((batches[0] if len(batches) == 1 else join(batches)).to(device))
        loss = total_loss(output)
    loss.backward()
    given = ((n, p.grad) for n, p in model.named_parameters() if p.grad is not None)
    return Replay(
        record["epoch"],
        record["step"],
        {k.removeprefix("loss/"): v for k, v in first["values"].items() if k.startswith("loss/")},
        {name: float(value.detach()) for name, value in output.losses.items()},
        weights,
        met[0] if met else None,
        tuple(name for name, grad in given if not bool(grad.isfinite().all())),
        same,
    )


def _load(uri: str, model: ReIDModel, config: Config) -> TrainingProgress:
    with tempfile.TemporaryDirectory() as scratch:
        for file in storage.list_files(uri):
            name = file.rpartition("/")[2]
            (Path(scratch) / name).write_bytes(storage.read_bytes(file))
        return load_state(Path(scratch), model, build_optimizer(model, config.train.optim))


def _batch(
    config: Config, shards: ShardSet, labels: LabelMap, model: ReIDModel, record: dict[str, Any], rank: int
) -> Batch:
    """The batch of a rank at the recorded step."""
    place = StreamPlace(config.seed, rank, len(record["ranks"]))
    stream = training_stream(config, shards, labels, model.auxiliary, place)
    step = record["step"]
    return next(iter(stream.epoch(record["epoch"], step + 1, start=step)))


@contextlib.contextmanager
def _watched(model: nn.Module, met: list[str]) -> Iterator[None]:
    """Note in `met` the modules whose output is not finite, in the order in which they end."""

    def note(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if not _finite(output):
                met.append(name)

        return hook

    handles = [m.register_forward_hook(note(name)) for name, m in model.named_modules() if name]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _finite(value: Any) -> bool:
    if isinstance(value, Tensor):
        return not value.is_floating_point() or bool(value.isfinite().all())
    if isinstance(value, dict):
        return all(_finite(v) for v in value.values())
    return all(_finite(v) for v in value) if isinstance(value, list | tuple) else True
