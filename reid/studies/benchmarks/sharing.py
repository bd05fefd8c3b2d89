"""Every subset of a capture from shared encoder passes against a pass each, and what a training step keeps.

Every system at the size of its paper's preset, random weights, rendered pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from reid.config import Config, load, override
from reid.data.batches.batch import Batch
from reid.modality import Modality, Subset, all_subsets
from reid.models.base import ModelContext, ReIDModel
from reid.models.registry import build_model
from reid.nn.blockwise import BlockRun, run_blocks
from reid.runs.describe import PUBLISHED, dummy_batch
from reid.studies.benchmarks.model import rendered_batch
from reid.studies.benchmarks.timing import BenchmarkRow, Timing, compare

PRESETS = {
    "baseline": "baseline/rgbnt201",
    "mfrnet": "mfrnet/rgbnt201",
    "signal": "signal/rgbnt201",
    "stmi": "stmi/rgbnt201",
    "flexireid": "flexireid/cuhk-pedes",
    "mixer": "mixer/sysu-mm01",
}
VARIANTS: dict[str, dict[str, dict[str, object]]] = {
    "flexireid": {
        "towers trained, too": {"model.freeze_backbone": False},
        "recomputed": {"train.compute.checkpoint_activations": True},
    }
}
"""Other ways to train a system, whose step is compared with the preset's."""


def sharing_rows(
    systems: Sequence[str], rows: int, repeats: int, device: torch.device
) -> Iterator[BenchmarkRow]:
    """Rows of each system, `rows` captures a batch."""
    for system in systems:
        config = override(load(PRESETS[system]), {"model.weights": "random"})
        yield from shared_rows(config, rows, repeats, device)
        yield from step_rows(config, rows, repeats, device)


def shared_rows(config: Config, rows: int, repeats: int, device: torch.device) -> Iterator[BenchmarkRow]:
    """Embedding every subset of the rows' modalities."""
    model, batch = _model(config, device).eval(), _batch(config, rows, device)
    subsets = _asked(model, config)
    ways: dict[str, Callable[[], dict[Subset, Tensor]]] = {
        "a pass each": partial(_all, partial(ReIDModel.embed_many, model), batch, subsets),
        "shared": partial(_all, model.embed_many, batch, subsets),
    }
    found = compare(ways, repeats, device)
    name = f"{config.model.name} {len(subsets)} subsets"
    yield _row(f"{name}, shared passes", found["shared"], found["a pass each"], device)
    alone, shared = ways["a pass each"](), ways["shared"]()
    gap = max(float((alone[s] - shared[s]).abs().max()) for s in subsets)
    yield BenchmarkRow(f"{name}, largest difference", gap, "")


def step_rows(config: Config, rows: int, repeats: int, device: torch.device) -> Iterator[BenchmarkRow]:
    """Forward and backward: time and memory above the model's own, for the preset and its variants."""
    batch = _batch(config, rows, device)
    system = config.model.name
    own: Timing | None = None
    for name, changes in {"": {}, **VARIANTS.get(system, {})}.items():
        model = _model(override(config, changes), device)
        way = BlockRun(override(config, changes).train.compute.checkpoint_activations)
        step = {"step": partial(_step, model, batch, way)}
        measured = compare(step, repeats, device)["step"]
        own = own or measured
        label = f"{system} train step{f', {name}' if name else ''}"
        yield _row(label, measured, own, device)
        yield BenchmarkRow(f"{label}, peak memory", measured.peak_mib, "MiB", own.peak_mib)


def _row(name: str, measured: Timing, against: Timing, device: torch.device) -> BenchmarkRow:
    cpu = device.type == "cpu"  # threads' time is what a shared machine measures well
    value, reference = (m.cpu_seconds if cpu else m.seconds for m in (measured, against))
    return BenchmarkRow(name, value, "CPU s" if cpu else "s", reference, reference / value)


def _model(config: Config, device: torch.device) -> ReIDModel:
    torch.manual_seed(0)
    data = config.data
    classes, cameras = PUBLISHED.get(data.name, (100, 4))
    context = ModelContext(classes, cameras, data.height, data.width, data.modalities)
    return build_model(config.model, context).to(device)


def _batch(config: Config, rows: int, device: torch.device) -> Batch:
    data = config.data
    model = _model(config, torch.device("meta"))
    blank = dummy_batch(data.modalities, rows, data.height, data.width, model.auxiliary)
    drawn = rendered_batch(config, rows)
    words = torch.randint(1, 400, (rows, 20), generator=torch.Generator().manual_seed(0))
    tokens = None
    if blank.tokens is not None:
        tokens = blank.tokens.clone()
        tokens[:, 1:21], tokens[:, -1], tokens[:, 21] = words, 0, 49407
    return replace(blank, pid=drawn.pid, images=drawn.images, tokens=tokens).to(device)


def _asked(model: ReIDModel, config: Config) -> list[Subset]:
    """What one photo or capture is asked for: photos alone and every query, or every subset."""
    if config.model.name == "flexireid":
        others = [m for m in config.data.modalities if m is not Modality.RGB]
        return [(Modality.RGB,), *all_subsets(others)]
    return model.supported("query")


def _all(
    embed: Callable[..., dict[Subset, Tensor]], batch: Batch, subsets: Sequence[Subset]
) -> dict[Subset, Tensor]:
    with torch.inference_mode():
        return embed(batch, subsets, "query")


def _step(model: ReIDModel, batch: Batch, way: BlockRun) -> None:
    model.train().zero_grad(set_to_none=True)
    with run_blocks(way):
        torch.stack(list(model(batch).losses.values())).sum().backward()
    model.zero_grad(set_to_none=True)
