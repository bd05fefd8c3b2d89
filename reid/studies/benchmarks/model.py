"""Time and memory of a system's forward and backward at paper size, against the plain reference.

Random weights, rendered pictures. On a GPU also images per second and model-FLOP utilisation.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from reid.config import Config, load, override
from reid.data.batches.batch import Batch
from reid.data.synthetic import SyntheticConfig, make_identity, render_capture
from reid.modality import Modality
from reid.models.base import ModelContext, ReIDModel
from reid.models.registry import build_model
from reid.nn.towers import block as blocks
from reid.nn.towers.block import Replacement
from reid.nn.towers.clip import ImageTower
from reid.runs.describe import PUBLISHED, dummy_batch, gmac
from reid.studies.benchmarks.plain import plain
from reid.studies.benchmarks.timing import BenchmarkRow, Timing, compare
from reid.train.tracking.utilisation import peak_tflops, utilisation

SYSTEMS = ("baseline", "mfrnet", "signal")
TARGETS = {("mfrnet", "eval fp32"): 1.1, ("mfrnet", "eval bf16"): 2.5}


def model_rows(
    systems: Sequence[str], rows: int, repeats: int, device: torch.device, compiled: bool = False
) -> Iterator[BenchmarkRow]:
    """Rows for each system at ViT-B/16 and the sizes of its RGBNT201 preset, `rows` triples a batch."""
    for system in systems:
        config = override(load(f"{system}/rgbnt201"), {"model.weights": "random"})
        yield from system_rows(config, rows, repeats, device, compiled)


def system_rows(
    config: Config, rows: int, repeats: int, device: torch.device, compiled: bool = False
) -> Iterator[BenchmarkRow]:
    """Rows of one configuration."""
    torch.manual_seed(0)
    system, data = config.model.name, config.data
    classes, cameras = PUBLISHED.get(data.name, (100, 4))
    context = ModelContext(classes, cameras, data.height, data.width, data.modalities)
    model = build_model(config.model, context).to(device).eval()
    batch = rendered_batch(config, rows).to(device)
    embed: dict[str, Callable[[], Tensor]] = {
        "plain fp32": partial(_embed, plain(model), batch, device, False),
        "fp32": partial(_embed, model, batch, device, False),
        "bf16": partial(_embed, model, batch, device, True),
    }
    if compiled:
        embed["fp32 compiled"] = partial(_embed, with_compiled_blocks(model), batch, device, False)
        embed["bf16 compiled"] = partial(_embed, with_compiled_blocks(model), batch, device, True)
    yield from _rows(system, "eval", compare(embed, repeats, device), device)
    exact, ours, half = embed["plain fp32"](), embed["fp32"](), embed["bf16"]()
    yield BenchmarkRow(
        f"{system} eval fp32 largest difference to plain", float((ours - exact).abs().max()), ""
    )
    first, order = rank_agreement(ours, half)
    yield BenchmarkRow(f"{system} eval bf16 equal first results", first, "share")
    yield BenchmarkRow(f"{system} eval bf16 rank correlation", order, "")
    steps = {
        "plain fp32": partial(_step, plain(model), batch, device, False),
        "fp32": partial(_step, model, batch, device, False),
        "bf16": partial(_step, model, batch, device, True),
    }
    trained = compare(steps, repeats, device)
    yield from _rows(system, "train", trained, device)
    if device.type == "cuda":
        cost = gmac(copy.deepcopy(model).cpu(), data.modalities, data.height, data.width, prune=False)
        evaluated = compare({"bf16": embed["bf16"]}, repeats, device)["bf16"].seconds
        yield from _utilisation(f"{system} eval bf16", rows, len(data.modalities), cost, evaluated, device)
        yield from _utilisation(
            f"{system} train bf16", rows, len(data.modalities), 3 * cost, trained["bf16"].seconds, device
        )


def _rows(
    system: str, mode: str, found: Mapping[str, Timing], device: torch.device
) -> Iterator[BenchmarkRow]:
    base = found["plain fp32"]
    yield BenchmarkRow(f"{system} {mode} plain fp32", base.seconds, "s")
    for name, measured in found.items():
        if name == "plain fp32":
            continue
        against = found["fp32"] if name.startswith("bf16") else base
        label = f"{mode} {name}"
        target = TARGETS.get((system, label))
        if device.type == "cpu":  # threads' time is what a shared machine measures well
            value, reference, unit = measured.cpu_seconds, against.cpu_seconds, "CPU s"
        else:
            value, reference, unit = measured.seconds, against.seconds, "s"
        yield BenchmarkRow(f"{system} {label}", value, unit, reference, reference / value, target)
        yield BenchmarkRow(
            f"{system} {label} wall",
            measured.seconds,
            "s",
            against.seconds,
            against.seconds / measured.seconds,
        )
        if measured.peak_mib:
            yield BenchmarkRow(
                f"{system} {label} peak memory",
                measured.peak_mib,
                "MiB",
                against.peak_mib,
                against.peak_mib / measured.peak_mib,
            )


def _utilisation(
    name: str, rows: int, images: int, gmacs: float, seconds: float, device: torch.device
) -> Iterator[BenchmarkRow]:
    yield BenchmarkRow(f"{name} images a second", rows * images / seconds, "1/s")
    peak = peak_tflops(torch.cuda.get_device_name(device))
    if peak:
        share = utilisation(rows / seconds, 2e9 * gmacs, peak, devices=1)
        yield BenchmarkRow(f"{name} model-FLOP utilisation", share, "share")


def _embed(model: ReIDModel, batch: Batch, device: torch.device, half: bool) -> Tensor:
    model.eval()
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=half):
        return model.embed(batch, "query").float()


def _step(model: ReIDModel, batch: Batch, device: torch.device, half: bool) -> None:
    model.train().zero_grad(set_to_none=True)
    with torch.autocast(device.type, torch.bfloat16, enabled=half):
        losses = model(batch).losses
    torch.stack(list(losses.values())).sum().backward()
    model.zero_grad(set_to_none=True)


def rendered_batch(config: Config, rows: int) -> Batch:
    """Rendered captures, two of each identity, in the configuration's size; same pictures on any machine."""
    data = config.data
    renderer = SyntheticConfig(height=data.height, width=data.width, num_cameras=2)
    pictures: dict[Modality, list[Tensor]] = {m: [] for m in data.modalities if m.is_visual}
    for row in range(rows):
        capture = render_capture(renderer, make_identity(renderer, row // 2), row % 2, 0)
        for modality, listed in pictures.items():
            pixels = torch.from_numpy(getattr(capture, modality.value).copy()).float() / 255  # (H, W[, 3])
            pixels = pixels[..., None].expand(-1, -1, 3) if pixels.ndim == 2 else pixels
            listed.append((pixels.permute(2, 0, 1) - 0.5) / 0.5)
    blank = dummy_batch(data.modalities, rows, data.height, data.width)
    return replace(
        blank,
        pid=torch.arange(rows) // 2,
        images={m: torch.stack(listed) for m, listed in pictures.items()},
    )


def rank_agreement(a: Tensor, b: Tensor) -> tuple[float, float]:
    """Two embeddings of the same rows (n, dim): share of equal first results, and mean Spearman correlation.

    Every row asks all others.
    """
    ranks = []
    for vectors in (a, b):
        similarity = vectors @ vectors.T
        n = len(similarity)
        others = similarity[~torch.eye(n, dtype=torch.bool, device=similarity.device)].view(n, n - 1)
        ranks.append(others.argsort(1, descending=True).argsort(1).double())
    first = (ranks[0].argmin(1) == ranks[1].argmin(1)).double().mean()
    centred = [r - r.mean(1, keepdim=True) for r in ranks]
    correlation = (centred[0] * centred[1]).sum(1) / (centred[0].norm(dim=1) * centred[1].norm(dim=1))
    return float(first), float(correlation.mean())


class _CompiledTower(ImageTower):
    """An image tower whose blocks run compiled: one compilation serves all of equal shape."""

    def encode(
        self,
        tokens: Tensor,
        ffn: Mapping[int, Replacement] | None = None,
        class_only: bool = False,
        start: int = 0,
        stop: int | None = None,
    ) -> Tensor:
        """As ImageTower's."""
        run: Any = torch.compile(blocks.run_block)
        tokens = self.visual.ln_pre(tokens) if start == 0 else tokens
        last = len(self.blocks) - 1
        for layer, block in list(enumerate(self.blocks))[start:stop]:
            special = layer in (ffn or {}) or (class_only and layer == last)
            if special:
                tokens = blocks.run_block(block, tokens, (ffn or {}).get(layer), class_only and layer == last)
            else:
                tokens = run(block, tokens)
        return tokens


def with_compiled_blocks(model: ReIDModel) -> ReIDModel:
    """A copy of the model whose image tower runs compiled blocks."""
    twin = copy.deepcopy(model)
    for module in twin.modules():
        if isinstance(module, ImageTower):
            module.__class__ = _CompiledTower
    return twin
