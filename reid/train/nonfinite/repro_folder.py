"""A step that is not finite as a folder, from which it can be replayed.

```
<run>/nonfinite/epoch-0001-step-000004/repro.json    place, sample ids and losses of every rank; written last
                                       config.json   the resolved configuration
                                       ...           the state before the step, as in a checkpoint
```
Torch's generators need no file: a step's seed follows from its place.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import torch.distributed as dist

from reid import storage
from reid.modality import ORDER
from reid.nn.distributed import rank, world_size
from reid.train.nonfinite.bad_step import BadStep
from reid.train.setup import TrainingParts
from reid.train.state import save_state, step_seed

FOLDER, REPRO_FILE, CONFIG_FILE = "nonfinite", "repro.json", "config.json"


def write_repro(run_uri: str, parts: TrainingParts, bad: BadStep) -> str:
    """Write the folder below a run's folder; its URI. A collective call: ranks write own files."""
    uri = storage.join(run_uri, FOLDER, f"epoch-{bad.epoch:04d}-step-{bad.step:06d}")
    mine = {
        "rank": rank(),
        "seed": step_seed(parts.config.seed, rank(), bad.epoch, bad.step),
        "values": dict(bad.values),
        "samples": by_modality(bad.sample_ids),
    }
    ranks: list[Any] = [mine]
    if world_size() > 1:
        ranks = [None] * world_size()
        dist.all_gather_object(ranks, mine)
    with tempfile.TemporaryDirectory() as scratch:
        save_state(Path(scratch), parts.model, parts.optimizer, parts.progress)
        for file in sorted(path for path in Path(scratch).rglob("*") if path.is_file()):
            storage.write_bytes(storage.join(uri, *file.relative_to(scratch).parts), file.read_bytes())
    if world_size() > 1:
        dist.barrier()  # the record is written last: it says that the files of all ranks are there
    if rank() != 0:
        return uri
    storage.write_json(storage.join(uri, CONFIG_FILE), parts.config.model_dump(mode="json"))
    record = {"epoch": bad.epoch, "step": bad.step, "steps": parts.steps, "ranks": ranks}
    storage.write_bytes(storage.join(uri, REPRO_FILE), json.dumps(record, indent=1).encode())
    return uri


def by_modality(sample_ids: tuple[Any, ...]) -> dict[str, list[str | None]]:
    """For each modality of the batch the sample of every row; None where a row lacks it."""
    columns = {m.value: [row[i] for row in sample_ids] for i, m in enumerate(ORDER)}
    return {name: column for name, column in columns.items() if any(column)}
