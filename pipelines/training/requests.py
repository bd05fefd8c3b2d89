"""What training asks of the cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reid.config import Config
from reid.config.sections.training.workers import worker_counts

if TYPE_CHECKING:
    from pipelines.placement.resources import Request


def train_requests(config: Config, gpus: float) -> list[Request]:
    """What training asks of the cluster, with so many GPUs for each worker; nothing when it is done in this
    process. An elastic one asks for its least number of workers: nodes for more may come later.
    """
    settings = config.train
    if settings.workers == 0:
        return []
    from pipelines.placement.resources import Request

    counts = worker_counts(settings.workers, settings.batch.identities)
    names = ("cpus_per_worker", "gpus_per_worker")
    workers = settings.workers
    number = workers if isinstance(workers, int) else f"{{min: {workers.min}, max: {workers.max}}}"
    return [
        Request(
            what="worker" if counts[0] == 1 else "workers",
            count=counts[0],
            bundle={"CPU": settings.cpus_per_worker, "GPU": gpus},
            fields={"train.workers": number} | {f"train.{name}": getattr(settings, name) for name in names},
        )
    ]
