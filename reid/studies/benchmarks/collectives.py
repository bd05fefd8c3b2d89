"""What the ranks of a training say to each other in a step: collectives and bytes, counted by running one.

The step is a real one: forward, backward and clipping of the wrapped model. The process group is torch's
"fake" backend, in which this process is one of any number of ranks, so that calls and sizes are those of so
many processes. Models at the size of their papers run on the "meta" device: shapes without numbers, since no
shape of a step hangs on a number of the device. From the bytes, a bandwidth, a latency and the time of a step
alone follows what share of the time many ranks compute.
"""

from __future__ import annotations

import copy
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.futures import Future
from torch.nn.parallel import DistributedDataParallel
from torch.utils._python_dispatch import TorchDispatchMode

from reid.data.batches.batch import Batch
from reid.models.base import ReIDModel
from reid.nn.classifier.layer import split_parameters
from reid.nn.classifier.placement import row_share
from reid.studies.benchmarks.gpu.systems import SMALL, SystemCase
from reid.studies.benchmarks.timing import BenchmarkRow
from reid.train.classifiers.placement import clip_gradients
from reid.train.epoch import total_loss
from reid.train.setup import distribute

META = torch.device("meta")
WORLDS = (2, 8, 64)
FIRST_BUCKET, BUCKET = 2**20, 25 * 2**20
"""Bytes: DistributedDataParallel's first bucket of gradients, and the others."""
GRADIENTS, GATHERED, SUMMED, OTHER = "gradients", "gathered rows", "sums over ranks", "others"
KINDS = (GRADIENTS, GATHERED, SUMMED, OTHER)
BACKWARD = 2 / 3
"""Share of a step that is its backward pass, behind which DistributedDataParallel hides gradients."""
IDENTITIES, HEAD_RANKS, HEAD_ROWS = 5_000_000, 64, 64
"""The classifier whose logits are told: training identities, ranks, rows of each."""


@dataclass(frozen=True)
class Network:
    """What connects the ranks.

    Args:
        bytes_per_s: of one rank, in one direction.
        latency_s: added to a collective for every doubling of the ranks.
        step_s: a step of one rank alone.
    """

    bytes_per_s: float
    latency_s: float
    step_s: float

    def seconds(self, kind: str, traffic: Traffic, world: int) -> float:
        """Time of the collectives of a kind: rings, which send an all-reduce's bytes twice."""
        sent = (world - 1) * traffic.bytes if kind == GATHERED else 2 * (world - 1) / world * traffic.bytes
        return sent / self.bytes_per_s + traffic.calls * math.ceil(math.log2(world)) * self.latency_s

    def efficiency(self, found: dict[str, Traffic], world: int, overlapped: bool) -> float:
        """Share of the time that a rank computes, gradients hidden behind the backward pass or not.

        >>> network = Network(bytes_per_s=25e9, latency_s=0, step_s=0.2)
        >>> round(network.efficiency({GRADIENTS: Traffic(1, 400_000_000)}, 64, overlapped=False), 3)
        0.864
        """
        spent = {kind: self.seconds(kind, traffic, world) for kind, traffic in found.items()}
        if overlapped:
            spent[GRADIENTS] = max(0.0, spent.get(GRADIENTS, 0.0) - BACKWARD * self.step_s)
        return self.step_s / (self.step_s + sum(spent.values()))


@dataclass
class Traffic:
    """Collectives of a kind in a step, and the bytes that this rank gives to them."""

    calls: int = 0
    bytes: int = 0


class CollectiveCounter(TorchDispatchMode):
    """Counts the collectives that run within it, by kind, on any backend.

    Gradients are told from other sums by `average`, which does what DistributedDataParallel does with them.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: dict[str, Traffic] = defaultdict(Traffic)
        self._in_bucket = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Note a collective, and run whatever it is."""
        if func.namespace == "c10d":
            self._note(func.name(), args)
        return func(*args, **(kwargs or {}))

    def average(self, buffer: Tensor) -> Future[Tensor]:
        """The mean of a bucket of gradients over the ranks."""
        self._in_bucket = True
        buffer.div_(dist.get_world_size())
        dist.all_reduce(buffer)
        self._in_bucket = False
        done: Future[Tensor] = Future()
        done.set_result(buffer)
        return done

    def _note(self, name: str, args: Sequence[Any]) -> None:
        kind = OTHER
        if "allreduce" in name:
            kind = GRADIENTS if self._in_bucket else SUMMED
        elif "allgather" in name:
            kind = GATHERED
        given = args[1] if "allgather" in name else args[0]
        tensors = [given] if isinstance(given, Tensor) else [x for x in given if isinstance(x, Tensor)]
        self.found[kind].calls += 1
        self.found[kind].bytes += sum(x.numel() * x.element_size() for x in tensors)


def count_step(case: SystemCase, model: ReIDModel, batch: Batch, device: torch.device) -> dict[str, Traffic]:
    """The collectives of one training step of a system, in the process group that there is: not its first.

    DistributedDataParallel has one bucket in the first step, and divides it by size before the second.
    """
    counter = CollectiveCounter()
    wrapped = distribute(model.train(), case.config, device)
    if isinstance(wrapped, DistributedDataParallel):
        wrapped.register_comm_hook(None, lambda state, bucket: counter.average(bucket.buffer()))
        total_loss(wrapped(batch)).backward()
        with wrapped.no_sync():
            wrapped(batch)  # divides the bucket
        counter.found.clear()
    model.zero_grad(set_to_none=True)
    with counter:
        total_loss(wrapped(batch)).backward()
        clip_gradients(model, case.config.train.optim.clip_norm)
    return dict(counter.found)


def count_shapes(case: SystemCase, model: ReIDModel, batch: Batch) -> dict[str, Traffic]:
    """The same of a model on the meta device, in its first step.

    The buckets of later steps are those that DistributedDataParallel makes then: by the order in which
    gradients became ready, and its limits.
    """
    counter, ready = CollectiveCounter(), list[Tensor]()
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.register_post_accumulate_grad_hook(ready.append)
    wrapped = distribute(model.train(), case.config, META)
    if isinstance(wrapped, DistributedDataParallel):
        wrapped.register_comm_hook(None, lambda state, bucket: counter.average(bucket.buffer()))
    with counter:
        total_loss(wrapped(batch)).backward()
        clip_gradients(model, case.config.train.optim.clip_norm)
    apart = {id(p) for name, p in model.named_parameters() if name in split_parameters(model)}
    averaged = [parameter for parameter in ready if id(parameter) not in apart]
    counter.found[GRADIENTS].calls = _buckets(averaged)
    return dict(counter.found)


def _buckets(parameters: Sequence[Tensor]) -> int:
    """How many collectives DDP averages these gradients in, which become ready in this order."""
    count, full, limit = 0, 0, FIRST_BUCKET
    for parameter in parameters:
        full += parameter.nbytes
        if full >= limit:
            count, full, limit = count + 1, 0, BUCKET
    return count + (full > 0)


def count_at(
    case: SystemCase, model: ReIDModel, batch: Batch, device: torch.device, world: int
) -> dict[str, Traffic]:
    """`count_step` as one of `world` ranks, without the others; `count_shapes` on the meta device."""
    from torch.testing._internal.distributed.fake_pg import FakeStore

    dist.init_process_group("fake", rank=0, world_size=world, store=FakeStore())
    try:
        if device == META:
            return count_shapes(case, copy.deepcopy(model), batch)
        return count_step(case, model, batch, device)
    finally:
        dist.destroy_process_group()


def collective_rows(
    systems: Sequence[str], rows: int, network: Network, small: bool = False
) -> Iterator[BenchmarkRow]:
    """Rows of each system at its paper's size (`small`: a laptop's), `rows` captures on every rank."""
    for name in systems:
        case = SystemCase.of(name, SMALL if small else None)
        with META:
            model = case.model()
        batch = case.batch(model, rows).to(META)
        for world in WORLDS:
            found = count_at(case, model, batch, META, world)
            label = f"{name}, {world} ranks"
            for kind in KINDS:
                if kind in found:
                    yield BenchmarkRow(f"{label}: {kind}, calls", found[kind].calls, "calls")
                    yield BenchmarkRow(f"{label}: {kind}", found[kind].bytes / 2**20, "MiB")
            for way, overlapped in (("gradients hidden", True), ("nothing hidden", False)):
                share = network.efficiency(found, world, overlapped)
                yield BenchmarkRow(f"{label}: predicted, {way}", share, "share")
    yield from head_rows()


def head_rows() -> Iterator[BenchmarkRow]:
    """Memory of a rank's logits at millions of identities: of all classes, and of its share of them."""
    rows = HEAD_RANKS * HEAD_ROWS
    whole, split = (4 * rows * n / 1e9 for n in (IDENTITIES, len(row_share(IDENTITIES, 0, HEAD_RANKS))))
    name = f"logits of {IDENTITIES / 1e6:g} million identities, {HEAD_RANKS} ranks of {HEAD_ROWS} rows"
    yield BenchmarkRow(f"{name}, split", split, "GB", whole, whole / split)
