"""What the ranks of test_resumed_ranks.py run. A file of its own, so that a spawned process can import it."""

from __future__ import annotations

import json
import os
import time
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from reid.config import load, override
from reid.train.loop import train
from reid.train.steps.checkpoint_times import CheckpointTimes
from tests.support.models.observers import Recorder
from tests.support.models.poison import ids_at, poison

WORLD = 2
PLACES = ("epoch-0000-step-000002", "epoch-0001-step-000001")


def run_rank(rank: int, folder: str, config_json: str) -> None:
    """A training: whole, resumed at two places, saved by the minute, and with a bad batch on rank 1."""
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=WORLD)
    config, root = load(json.loads(config_json)), Path(folder)
    seen = Recorder(root / "states", each=True)
    train(config, str(root / "whole"), observer=seen)
    for place in PLACES:
        dist.barrier()
        torch.manual_seed(99)
        train(config, str(root / place), resume=root / "states" / place)
    hourly = Recorder()
    with pytest.MonkeyPatch.context() as patch:
        clock = time.monotonic if rank == 0 else lambda: 0.0  # rank 1 would never save
        patch.setattr("reid.train.loop.CheckpointTimes", partial(CheckpointTimes, clock=clock))
        often = {"every_minutes": 1e-9, "every_epochs": 99}
        train(
            override(config, {"train.checkpoint": often, "train.log_every": 2}), "", None, None, hourly, False
        )
    with pytest.MonkeyPatch.context() as patch:
        if rank == 1:
            poison(patch, ids_at(config, 1, 0, rank, WORLD))
        final = Recorder(root / f"skipped-{rank}")
        if rank == 1:
            final.checkpoint = lambda at, save: None  # type: ignore[method-assign]
        train(config, str(root / "skipped"), observer=final)
    told = {
        "places": [p.name for p in seen.places],
        "by the minute": [p.name for p in hourly.places],
        "notices": final.notices,
    }
    torch.save(told, root / f"rank{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()
