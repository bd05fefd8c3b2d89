"""Training in this process, without Ray."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path

from pipelines.placement.devices import device_in_process
from pipelines.progress import Say
from pipelines.training.checkpointing import resume, writer
from pipelines.training.lines import TrainLines
from pipelines.training.observer import KeepingObserver
from reid.config import Config
from reid.train.loop import train


def train_here(config: Config, uri: str, out: Say) -> None:
    """In this process; the checkpoints in the run folder make it resumable."""
    gpus, field = config.train.gpus_per_worker, "train.gpus_per_worker"
    device = device_in_process("train", config.device, gpus, field, out)
    said = one_at_a_time(out)
    with tempfile.TemporaryDirectory(prefix="anyreid-resume-") as scratch:
        state = resume(config, uri, Path(scratch), said)
        with writer(config, uri, said) as kept:
            observer = KeepingObserver(kept, TrainLines(config.train.epochs, said))
            train(config, uri, resume=state, device=device, observer=observer)


def one_at_a_time(out: Say) -> Say:
    """The same, for several threads."""
    lock = threading.Lock()

    def say(line: str) -> None:
        with lock:
            out(line)

    return say
