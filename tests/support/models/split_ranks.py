"""What ranks run in tests of split classifiers. A file of its own, so that a spawned process imports it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from reid.config import load
from reid.nn.bnneck import BNNeck
from reid.nn.classifier.layer import begin_step
from reid.nn.classifier.placement import ClassifierPlacement, classifiers_placed
from reid.nn.classifier.sampling import local_targets
from reid.nn.classifier.split_softmax import split_cross_entropy
from reid.nn.distributed import gather_rows
from reid.studies.benchmarks.collectives import META, count_at, count_step
from reid.studies.benchmarks.gpu.systems import SMALL, SystemCase
from reid.train.loop import train
from reid.train.reports import CheckpointPlace, Save, TrainingObserver
from tests.support.models.spawned_ranks import spawn_ranks

DIM = 6
ROWS = (5, 3)
"""Rows of each rank: not the same number."""
# name -> (classes, label smoothing): classes that two ranks share evenly, not evenly, and only on one rank
LOSSES = {"even": (8, 0.1), "uneven": (7, 0.1), "no smoothing": (7, 0.0), "one class": (1, 0.1)}
SYSTEMS = ("baseline", "mfrnet", "flexireid")
"""Whose collectives are counted."""

Job = Callable[[int, Path], dict[str, Any]]


def run_ranks(job: Job, folder: Path, world: int = 2) -> list[dict[str, Any]]:
    """What a function of this module found on each of `world` gloo ranks, given its rank and this folder."""
    spawn_ranks(_as_rank, (job, str(folder), world), world)
    return [torch.load(folder / f"rank{r}.pt", weights_only=True) for r in range(world)]


def _as_rank(rank: int, job: Job, folder: str, world: int) -> None:
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=world)
    torch.save(job(rank, Path(folder)), Path(folder) / f"rank{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


def drawn(classes: int) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Whole weight (classes, DIM), and each rank's features and labels."""
    source = torch.Generator().manual_seed(classes)
    weight = torch.randn(classes, DIM, generator=source, dtype=torch.float64)
    features = [torch.randn(n, DIM, generator=source, dtype=torch.float64) for n in ROWS]
    labels = [torch.randint(classes, (n,), generator=source) for n in ROWS]
    return weight, features, labels


def split_losses(rank: int, folder: Path) -> dict[str, Any]:
    """Loss and gradients of every case of LOSSES, as one of two ranks."""
    found: dict[str, Any] = {}
    for case, (classes, smoothing) in LOSSES.items():
        weight, features, labels = drawn(classes)
        placement = ClassifierPlacement(rank, 2)
        rows = placement.rows(classes)
        own = weight[rows.first : rows.stop].clone().requires_grad_()
        mine = features[rank].clone().requires_grad_()
        targets = local_targets(gather_rows(labels[rank]), rows.first, len(rows))
        loss = split_cross_entropy(gather_rows(mine), own, targets, smoothing, 2)
        loss.backward()
        assert mine.grad is not None
        found[case] = {"loss": loss.detach(), "weight": own.grad, "features": mine.grad / 2}
    return found


def sampled_steps(rank: int, folder: Path) -> dict[str, Any]:
    """A neck of 40 classes, split, that compares with a quarter: two steps, and the first again."""
    torch.manual_seed(5)
    with classifiers_placed(ClassifierPlacement(rank, 2, sampling=0.25)):
        head = BNNeck(DIM, 40)
    labels = torch.tensor([0, 1, 2, 25, 26])
    features = torch.randn(5, DIM, generator=torch.Generator().manual_seed(1))
    found: dict[str, Any] = {"first": head.classifier.rows.first}
    for name, step in (("step 3", 3), ("step 4", 4), ("step 3 again", 3)):
        begin_step(head, seed=9, step=step)
        head.zero_grad()
        loss = head.loss(features, labels, 0.1)
        loss.backward()
        found[name] = {"loss": loss.detach(), "gradient": head.classifier.weight.grad}
    return found


class KeepsAll(TrainingObserver):
    """Keeps every checkpoint, and the losses of the epochs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def checkpoint(self, at: CheckpointPlace, save: Save) -> None:
        save(self.folder / at.name)


def trainings(rank: int, folder: Path) -> dict[str, Any]:
    """Three epochs of `config.yaml` with plain classifiers, with split ones, and these resumed after two."""
    plain = load(str(folder / "config.yaml"))
    split = load(str(folder / "config.yaml"), ["train.classifier.sharded=true"])
    found: dict[str, Any] = {}
    resume = folder / "states/split/epoch-0002-step-000000"
    for name, config, start in (("plain", plain, None), ("split", split, None), ("resumed", split, resume)):
        observer = KeepsAll(folder / "states" / name)
        end = train(config, str(folder / "runs" / name), resume=start, observer=observer)
        found[name] = {key: end[key] for key in ("loss", "grad_norm", "steps")}
        dist.barrier()
    return found


def counted(rank: int, folder: Path) -> dict[str, Any]:
    """The collectives of a step of the systems in SYSTEMS, as one of two ranks: kind -> (calls, bytes)."""
    return {name: traffic_of(name) for name in SYSTEMS}


def traffic_of(name: str, world: int | None = None) -> dict[str, tuple[int, int]]:
    """The same of one system; with `world` in a process that only plays one of so many ranks."""
    case = SystemCase.of(name, SMALL)
    model = case.model()
    batch = case.batch(model, 4)
    if world is None:
        found = count_step(case, model, batch, torch.device("cpu"))
    else:
        found = count_at(case, model.to(META), batch.to(META), META, world)
    return {kind: (traffic.calls, traffic.bytes) for kind, traffic in found.items()}
