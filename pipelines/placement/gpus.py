"""How many GPUs each process gets where the configuration says `auto`: decided before any starts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from pipelines.placement.devices import refuse_contradiction
from pipelines.placement.resources import Cluster, look
from pipelines.progress import Say, say
from reid.config import Config
from reid.errors import ConfigError

Work = Literal["train", "tune", "embed", "serve"]


@dataclass(frozen=True)
class _Asked:
    gpus: float | Literal["auto"]
    field: str
    processes: int
    counts: str
    """The field that says how many processes there are."""
    shares: bool
    """Whether processes may share a GPU: ranks of a training may not, since NCCL refuses it."""


def gpus_each(work: Work, config: Config, out: Say = say, cluster: Cluster | None = None) -> float:
    """GPUs of each process that does `work` on the cluster; 0 where none is started.

    A number of the configuration is returned as it is. `auto` is told in one line where it takes GPUs.
    Raises ConfigError for a number that contradicts `device`, for device=cuda where the cluster has none,
    and for more workers of a training than there are GPUs.
    """
    asked = _asked(work, config)
    refuse_contradiction(config.device, asked.gpus, asked.field)
    if asked.gpus != "auto":
        return asked.gpus
    if config.device == "cpu" or not asked.processes:
        return 0.0
    cluster = cluster or look()
    has = cluster.total("GPU")
    if has < 1:
        if config.device == "cuda":
            raise ConfigError(f"device=cuda: the cluster has no GPU. Set {asked.field}, or device=auto.")
        if cluster.autoscales:
            out(
                f"{work}: computes on CPUs: the autoscaler does not tell whether it can add GPUs "
                f"({asked.field}=1 asks for one each)"
            )
        return 0.0
    if has < asked.processes and not asked.shares:
        raise ConfigError(
            f"{asked.field}=auto: {asked.counts}={asked.processes}, and the cluster has {has:g} GPUs. "
            f"Lower {asked.counts}, or set {asked.field}: 0 for CPUs, or a part of a GPU, e.g. 0.5."
        )
    each = share_of(has, asked.processes)
    out(f"{work}: {each:.3g} of {has:g} GPUs for each process ({asked.field}=auto; 0 for CPUs)")
    return each


def share_of(gpus: float, processes: int) -> float:
    """The part of a GPU that each process gets, at most a whole one.

    >>> share_of(8, 2), share_of(2, 3), share_of(0, 3)
    (1.0, 0.5, 0.0)
    """
    return 1 / max(1, math.ceil(processes / gpus)) if gpus >= 1 else 0.0


def _asked(work: Work, config: Config) -> _Asked:
    train, evaluate, serve = config.train, config.evaluate, config.serve
    if work == "embed":
        field, counts = "evaluate.gpus_per_actor", "evaluate.actors"
        return _Asked(evaluate.gpus_per_actor, field, evaluate.actors, counts, True)
    if work == "serve":
        return _Asked(
            serve.gpus_per_replica, "serve.gpus_per_replica", serve.replicas, "serve.replicas", True
        )
    # An elastic training begins with its least number, and GPUs that are there let it grow.
    least = train.workers if isinstance(train.workers, int) else train.workers.min
    processes = 1 if work == "tune" else least
    return _Asked(train.gpus_per_worker, "train.gpus_per_worker", processes, "train.workers", False)
