"""A system's training step on a device: the CPU's losses and gradients, and its speed, eager and compiled."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor

from reid.data.batches.batch import Batch
from reid.models.base import ReIDModel
from reid.runs.describe import gmac
from reid.studies.benchmarks.gpu.checks import CannotRun
from reid.studies.benchmarks.gpu.systems import SystemCase, pictures
from reid.studies.benchmarks.model import with_compiled_blocks
from reid.studies.benchmarks.timing import BenchmarkRow, Timing, compare
from reid.train.epoch import total_loss
from reid.train.optimizer import build_optimizer
from reid.train.tracking.utilisation import peak_tflops

TOLERANCES = {"fp32": (1e-4, 1e-3), "bf16": (3e-2, 0.15)}
"""Largest relative difference to the CPU in float32, of the loss and of the whole gradient.

bfloat16 keeps 8 bits: a rounding error of 2^-9 in every activation, which deep networks and hard mining
(another positive may become the hardest) enlarge.
"""
AMPLIFIES = {"mixer"}
"""Batch norms over few values make much of a rounding error: its bf16 gradient is told, not judged."""
GOAL = 0.25
"""Model-FLOP utilisation of a training step that is aimed at."""


def agreement_rows(case: SystemCase, rows: int, device: torch.device) -> Iterator[BenchmarkRow]:
    """Loss and gradient of one step on `device` against the CPU's in float32."""
    model = case.model().train()
    batch = case.batch(model, rows)
    exact_loss, exact = _loss_and_gradient(copy.deepcopy(model), batch, torch.device("cpu"), half=False)
    for name, (loss_limit, gradient_limit) in TOLERANCES.items():
        with _without_tf32():
            loss, gradient = _loss_and_gradient(copy.deepcopy(model), batch, device, name == "bf16")
        for what, found, limit in (
            ("loss", abs(loss - exact_loss) / abs(exact_loss), loss_limit),
            ("gradient", float((gradient - exact).norm() / exact.norm()), gradient_limit),
        ):
            judged = not (case.name in AMPLIFIES and (name, what) == ("bf16", "gradient"))
            label = f"{case.name} {name} {what}, difference to CPU"
            yield BenchmarkRow(
                label, found, "", limit, limit / max(found, 1e-12), target=1 if judged else None
            )


def speed_rows(case: SystemCase, rows: int, repeats: int, device: torch.device) -> Iterator[BenchmarkRow]:
    """Pictures a second, memory and model-FLOP utilisation of forward, backward and optimiser, in bf16."""
    model = case.model().train()
    data = case.config.data
    cost = gmac(copy.deepcopy(model), data.modalities, data.height, data.width, prune=False)
    batch = case.batch(model, rows).to(device)
    whole_rows = pictures(batch) / len([m for m in data.modalities if m.is_visual])
    eager = model.to(device)
    found = compare({"eager": _step(case, eager, batch, device)}, repeats, device)
    name, count, gmacs = f"{case.name} train bf16", pictures(batch), whole_rows * cost
    yield from _speed(f"{name} eager", found["eager"], count, gmacs, device)
    compiled = with_compiled_blocks(eager)
    try:
        found |= compare({"compiled": _step(case, compiled, batch, device)}, repeats, device)
    except Exception as error:  # the compiler raises classes of its own
        yield BenchmarkRow(f"{name} compiled", skipped=f"not compiled: {_short(error)}")
        return
    yield from _speed(
        f"{case.name} train bf16 compiled", found["compiled"], pictures(batch), whole_rows * cost, device
    )
    ratio = found["eager"].seconds / found["compiled"].seconds
    yield BenchmarkRow(f"{case.name} compiled against eager", ratio, "x")


def _speed(
    name: str, timing: Timing, images: int, gmacs: float, device: torch.device
) -> Iterator[BenchmarkRow]:
    yield BenchmarkRow(f"{name}: pictures a second", images / timing.seconds, "1/s")
    yield BenchmarkRow(f"{name}: peak memory", timing.peak_mib, "MiB")
    peak = peak_flops(device)
    if peak is None:
        yield BenchmarkRow(f"{name}: model-FLOP utilisation", skipped="this device's peak is not known")
        return
    share = 3 * 2e9 * gmacs / timing.seconds / peak  # the backward pass costs two forward passes
    yield BenchmarkRow(f"{name}: model-FLOP utilisation", share, "share", GOAL, share / GOAL, 1)


def peak_flops(device: torch.device) -> float | None:
    """Dense bf16 operations a second of a GPU; None for a CPU, and where it is not known."""
    peak = peak_tflops(torch.cuda.get_device_name(device)) if device.type == "cuda" else None
    return None if peak is None else peak * 1e12


def _step(case: SystemCase, model: ReIDModel, batch: Batch, device: torch.device) -> Callable[[], None]:
    optimizer = build_optimizer(model, case.config.train.optim)
    return partial(_one_step, model, optimizer, batch, device)


def _one_step(model: ReIDModel, optimizer: torch.optim.Optimizer, batch: Batch, device: torch.device) -> None:
    with torch.autocast(device.type, torch.bfloat16):
        loss = total_loss(model(batch))
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


def _loss_and_gradient(
    model: ReIDModel, batch: Batch, device: torch.device, half: bool
) -> tuple[float, Tensor]:
    """The loss, and every gradient in one row (n,), on the CPU."""
    model.to(device)
    with torch.autocast(device.type, torch.bfloat16, enabled=half):
        loss = total_loss(model(batch.to(device)))
    loss.backward()
    parts = [p.grad.detach().float().flatten().cpu() for p in model.parameters() if p.grad is not None]
    if not parts:
        raise CannotRun("nothing of this model is trained")
    return float(loss.detach()), torch.cat(parts)


@contextmanager
def _without_tf32() -> Iterator[None]:
    """Float32 products in float32: what is compared with a CPU."""
    products, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
    was = products.allow_tf32, convolutions.allow_tf32
    products.allow_tf32 = convolutions.allow_tf32 = False
    try:
        yield
    finally:
        products.allow_tf32, convolutions.allow_tf32 = was


def _short(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
