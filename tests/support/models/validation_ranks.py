"""What the ranks of test_held_out.py run. A file of its own, so that a spawned process can import it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from reid.config import Config
from reid.data.batches.collate import Collator
from reid.data.shards.shard_set import ShardSet
from reid.models.registry import build_model
from reid.runs.identities import training_labels
from reid.runs.run import model_context
from reid.train.validation.validate import Validator

WORLD = 2


def validated(config: Config, protocol: str) -> dict[str, Any]:
    """What this process measures, and which row groups' pictures it read."""
    shards = ShardSet.open(str(config.data.shards))
    labels, held_out = training_labels(shards, config.train.val.fraction, config.seed)
    torch.manual_seed(config.seed)
    model = build_model(config.model, model_context(config, labels))
    collator = Collator(config.data, labels.camera_labels, auxiliary=model.auxiliary)
    read: list[list[Any]] = []
    plain = shards.read_group

    def counted(group: Any, columns: Any = None) -> Any:
        read.append([group.file, group.index])
        return plain(group, columns)

    shards.read_group = counted  # type: ignore[method-assign]
    validator = Validator(shards, held_out, collator, protocol)
    try:
        return {"metrics": validator(model, torch.device("cpu")), "read": read}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


def run_rank(rank: int, folder: str, tree: str, protocols: list[str]) -> None:
    """Write `<folder>/rank<r>.json`: by protocol what `validated` returns on this rank."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=WORLD)
    config = Config.model_validate_json(tree)
    found = {name: validated(config, name) for name in protocols}
    Path(folder, f"rank{rank}.json").write_text(json.dumps(found))
    dist.destroy_process_group()
