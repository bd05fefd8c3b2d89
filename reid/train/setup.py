"""What a training starts from: its batches, its ranks, and the weights of another run."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from reid.config import Config
from reid.data.batches.collate import Collator, PixelCache
from reid.data.batches.stream import BatchStream, StreamPlace
from reid.data.shards.shard_set import ShardSet
from reid.errors import TrainingError
from reid.models.base import Auxiliary, ReIDModel
from reid.nn.classifier.layer import split_parameters
from reid.nn.distributed import rank, world_size
from reid.nn.towers.checkpoint_kinds import describe_state
from reid.runs.identities import LabelMap
from reid.storage.run_files import read_weights
from reid.train.classifiers.placement import leave_split_parameters_alone
from reid.train.loading.loader import BatchLoader, cpus_here
from reid.train.state import TrainingProgress
from reid.train.steps.averaging import WeightAverage


@dataclass
class TrainingParts:
    """What the steps of a training work on.

    `wrapped` is the model as it is called: the model itself, or its DistributedDataParallel. `steps` is the
    length of an epoch.
    """

    config: Config
    model: ReIDModel
    wrapped: nn.Module
    optimizer: torch.optim.Optimizer
    loader: BatchLoader
    steps: int
    device: torch.device
    progress: TrainingProgress
    average: WeightAverage | None = None


def training_stream(
    config: Config,
    shards: ShardSet,
    labels: LabelMap,
    auxiliary: frozenset[Auxiliary] = frozenset(),
    place: StreamPlace | None = None,
) -> BatchStream:
    """The training batches of this rank, or of `place`, with the auxiliary inputs that the model uses."""
    collator = Collator(
        config.data,
        labels.camera_labels,
        config.train.augment,
        cache=PixelCache(config.data.cache_mib * 2**20),
        auxiliary=auxiliary,
    )
    place = place or StreamPlace(config.seed, rank(), world_size())
    return BatchStream(shards, labels.labels, config.data.modalities, config.train.batch, collator, place)


def training_loader(config: Config, stream: BatchStream, device: torch.device) -> BatchLoader:
    """Makes the stream's batches ahead, as `train.loader` says; its processes start now."""
    settings = config.train
    cpus = settings.cpus_per_worker if settings.workers else cpus_here()
    return BatchLoader(stream, settings.loader, cpus, settings.loader.pin and device.type == "cuda")


def distribute(model: ReIDModel, config: Config, device: torch.device) -> nn.Module:
    """Wrap in DistributedDataParallel when there are several ranks."""
    if world_size() == 1:
        return model
    leave_split_parameters_alone(model)
    return DistributedDataParallel(
        model,
        device_ids=[device] if device.type == "cuda" else None,
        broadcast_buffers=not config.train.global_statistics,  # else BN sees the same rows on every rank
        find_unused_parameters=config.train.find_unused_parameters,
        init_sync=device.type != "meta",  # shapes without numbers, of which collectives are counted
    )


def initialise_from(model: ReIDModel, uri: str) -> None:
    """Copy each tensor of a run or a file of weights that has an equal name and shape (heads may differ).

    Raises TrainingError when none fits, WeightsError when there are no weights.
    """
    given = read_weights(uri)
    own = model.state_dict()
    for name, rows in split_parameters(model).items():
        if name in given and len(given[name]) == rows.total:
            given[name] = given[name][rows.first : rows.stop]
    fitting = {k: v for k, v in given.items() if k in own and own[k].shape == v.shape}
    if not any(v.ndim for v in fitting.values()):  # counters fit every model
        raise TrainingError(
            f"train.init_from: nothing in {uri} fits this model; it holds {describe_state(given)}."
        )
    own.update(fitting)
    model.load_state_dict(own)
