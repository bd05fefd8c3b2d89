"""One DDP rank of Ray Train. Checkpoints are ours, the same for any number of workers."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from pipelines.placement.devices import device_here
from pipelines.training.checkpointing import resume, writer
from pipelines.training.in_process import one_at_a_time
from pipelines.training.lines import TrainLines
from pipelines.training.observer import KeepingObserver
from pipelines.training.run_log import RunLog
from reid.config import load
from reid.train.checkpoints.writing import CheckpointWriter
from reid.train.loop import train
from reid.train.reports import CheckpointPlace, Save

LAST = "last"
"""In what workers report with a checkpoint: whether the training ends there."""


def worker(arguments: dict[str, Any]) -> None:
    """One DDP rank."""
    import ray.train.torch
    from ray.train.collective import broadcast_from_rank_zero

    config, uri = load(arguments["config"]), arguments["run"]
    context = ray.train.get_context()
    rank = context.get_world_rank()
    out = one_at_a_time(RunLog(uri).write)
    device = device_here(arguments["gpus"], "train.gpus_per_worker")
    if device.type == "cuda":
        # Workers of one node see each other's GPUs; this is the one of ours.
        device = ray.train.torch.get_device()
    with tempfile.TemporaryDirectory(prefix="anyreid-resume-") as scratch:
        state = resume(config, uri, Path(scratch), out, rank, broadcast_from_rank_zero)
        elastic = not isinstance(config.train.workers, int)
        with writer(config, uri, out, rank, context.get_world_size()) as kept:
            observer = _InWorker(kept, TrainLines(config.train.epochs, out), elastic)
            train(config, uri, resume=state, device=device, observer=observer)


class _InWorker(KeepingObserver):
    """Lets Ray know of the checkpoints at which it may end an elastic attempt.

    A report waits until Ray's controller asks for it, so short epochs would take as long as its pause. Nobody
    else reads what is reported.
    """

    def __init__(self, kept: CheckpointWriter, lines: TrainLines, elastic: bool) -> None:
        super().__init__(kept, lines)
        self.elastic = elastic

    def checkpoint(self, at: CheckpointPlace, save: Save) -> None:
        import ray.train

        super().checkpoint(at, save)
        if not self.elastic:
            return
        self.kept.wait()  # another attempt with more workers may begin with it
        metrics = {k: v for k, v in at.metrics.items() if isinstance(v, int | float)}
        ray.train.report({**metrics, "epoch": at.epoch, "step": at.total, LAST: at.last})
