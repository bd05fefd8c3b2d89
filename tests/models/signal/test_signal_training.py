"""What Signal learns from: its losses, their gradients and the statistics that it tells."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

import pytest
import torch
from torch import Tensor

from reid.config.typed import check
from reid.data.batches.batch import UNKNOWN, Batch, join
from reid.errors import DataError
from reid.modality import CAMERA, parse_subset
from reid.models.base import ModelContext, Output
from reid.models.signal.alignment import GlobalAlignment, GlobalAlignmentConfig
from reid.models.signal.deformable_sampling import DeformableSampler
from reid.models.signal.gram_contrast import gram_contrast
from reid.models.signal.model import Config, Model

MakeBatch = Callable[..., Batch]
CAMERAS = "rgb+nir+tir"
HEIGHT, WIDTH = 32, 16
SIM = {"k1": 10, "heads": 4, "hidden": 24}
PIDS = [0, 0, 1, 1]
LEARNED = {f"sim.selection.{n}.{p}" for n in ("query", "key", "value") for p in ("weight", "bias")}


def signal(**fields: Any) -> Model:
    """A tiny Signal in training mode, 8 x 4 patches of 16 dimensions."""
    torch.manual_seed(1)
    tower = {"arch": None, "patch": 4, "width": 32, "layers": 2, "heads": 2, "dim": 16}
    sim = {**SIM, **fields.pop("sim", {})}
    config = check(Config, {"tower": tower, "sim": sim, **fields}, "model")
    return Model(config, ModelContext(4, 3, HEIGHT, WIDTH, CAMERA)).train()


def total(output: Output) -> Tensor:
    return torch.stack(list(output.losses.values())).sum()


def values(output: Output) -> dict[str, float]:
    return {name: float(loss.detach()) for name, loss in output.losses.items()}


def tokens(model: Model, batch: Batch) -> Tensor:
    """(B, 3, 1 + N, D) of the model's own tower."""
    every = [model.image_tower(batch.images[m], model.class_bias(batch, [m])) for m in CAMERA]
    return torch.stack(every, dim=1)


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({}, {"id", "triplet", "id_interaction", "triplet_interaction", "gam", "lam"}),
        (
            {"heads": "each"},
            {f"{t}_{m}" for t in ("id", "triplet") for m in ("rgb", "nir", "tir", "interaction")}
            | {"gam", "lam"},
        ),
        ({"sim": {"enabled": False}, "gam": {"enabled": False}}, {"id", "triplet", "lam"}),
        ({"lam": {"enabled": False}}, {"id", "triplet", "id_interaction", "triplet_interaction", "gam"}),
    ],
)
def test_losses_are_named_and_finite(batch_of: MakeBatch, fields: dict[str, Any], names: set[str]) -> None:
    output = signal(**fields)(batch_of([CAMERAS] * 4, pids=PIDS))
    assert set(output.losses) == names
    assert all(torch.isfinite(x) and x.ndim == 0 for x in output.losses.values())


def test_losses_are_weighted(batch_of: MakeBatch) -> None:
    batch = batch_of([CAMERAS] * 4, pids=PIDS)
    once = values(signal(id_weight=1.0, gam={"weight": 1.0}, lam={"weight": 1.0})(batch))
    weighted = values(
        signal(id_weight=0.5, triplet_weight=2.0, gam={"weight": 0.1}, lam={"weight": 0.01})(batch)
    )
    for name, factor in {"id": 0.5, "id_interaction": 0.5, "triplet": 2, "gam": 0.1, "lam": 0.01}.items():
        assert weighted[name] == pytest.approx(factor * once[name], rel=1e-5), name


def test_the_features_are_the_vectors_before_normalising(batch_of: MakeBatch) -> None:
    model, batch = signal(), batch_of([CAMERAS] * 4, pids=PIDS)
    features = model(batch).features
    assert features.shape == (4, model.dim)
    with torch.no_grad():
        vectors = model.eval().embed(batch, "query")
    assert torch.allclose(torch.nn.functional.normalize(features, dim=1), vectors, atol=1e-6)
    assert torch.allclose(features[:, :48], tokens(model, batch)[:, :, 0].flatten(1), atol=1e-6)


def test_global_alignment_contrasts_mean_patches_kept_or_not(batch_of: MakeBatch) -> None:
    model, batch = signal(gam={"weight": 1.0}, sim={"k1": 1}), batch_of([CAMERAS] * 4, pids=PIDS)
    means = tokens(model, batch)[:, :, 1:].mean(2)
    assert values(model(batch))["gam"] == pytest.approx(float(gram_contrast(means, 0.07).detach()), rel=1e-5)


def test_local_alignment_compares_every_pair_of_sampled_maps(batch_of: MakeBatch) -> None:
    """Patches fill the maps in reading order."""
    model, batch = signal(lam={"weight": 1.0}), batch_of([CAMERAS] * 4, pids=PIDS)
    assert model.lam is not None
    patches = tokens(model, batch)[:, :, 1:].detach()
    maps = {}
    for i, m in enumerate(CAMERA):
        grid = torch.empty(4, 16, 8, 4)
        for y in range(8):
            for x in range(4):
                grid[:, :, y, x] = patches[:, i, 4 * y + x]
        sampler = model.lam.samplers[m.value]
        assert isinstance(sampler, DeformableSampler)
        maps[m] = sampler(grid)
    errors = [torch.nn.functional.mse_loss(maps[a], maps[b]) for a, b in combinations(CAMERA, 2)]
    expected = float(torch.stack(errors).mean().detach())
    assert values(model(batch))["lam"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("fields", "silent"),
    [
        ({}, set()),
        ({"heads": "each", "lam": {"offsets": 2, "grid": "centred"}}, set()),
        ({"sim": {"projections": "identity", "drop": "mask"}}, set()),
        ({"sim": {"projections": "learned"}, "gam": {"floor": 0, "epsilon": 0}}, LEARNED),
        ({"sim": {"enabled": False}, "gam": {"enabled": False}, "lam": {"enabled": False}}, set()),
    ],
)
def test_gradients_reach_every_trainable_parameter_but_the_public_codes_dead_ones(
    batch_of: MakeBatch, fields: dict[str, Any], silent: set[str]
) -> None:
    model = signal(modality_embedding=True, **fields)
    parts = [batch_of([CAMERAS] * 2, pids=[p, p], camera=c, seed=p) for p, c in enumerate((0, 2, UNKNOWN))]
    total(model(join(parts))).backward()
    gradients = {n: p.grad for n, p in model.named_parameters() if p.requires_grad}
    sketch = gradients["class_bias.kind"]
    assert sketch is not None
    assert not sketch[3].any()
    assert {n for n, g in gradients.items() if g is None} == silent
    shift = {"sim.norm2.bias"}  # neither distances nor the neck see a common shift: rounding only
    assert {n for n, g in gradients.items() if g is None or not g.any()} - shift == silent
    for name, head in model.heads.items():
        assert head.get_parameter("norm.bias").grad is None, name


@pytest.mark.parametrize("epsilon", [1e-8, 0.0])
def test_equal_pictures_of_all_modalities_train_without_nan(batch_of: MakeBatch, epsilon: float) -> None:
    """The Gram volume is 0 there, and its root steep."""
    model = signal(gam={"epsilon": epsilon})
    batch = batch_of([CAMERAS] * 4, pids=PIDS)
    picture = batch.images[CAMERA[0]]
    for m in CAMERA:
        batch.images[m].copy_(picture)
    total(model(batch)).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is None or torch.isfinite(parameter.grad).all(), name


def test_a_temperature_below_its_floor_is_held_there_and_can_come_back() -> None:
    patches = torch.randn(4, 3, 5, 8)
    module = GlobalAlignment(GlobalAlignmentConfig())
    with torch.no_grad():
        module.temperature.fill_(-0.5)
    assert float(module.bounded().detach()) == pytest.approx(1e-3)
    module(patches).backward()
    assert module.temperature.grad is not None
    assert torch.isfinite(module.temperature.grad)
    assert module.temperature.grad.any()
    free = GlobalAlignment(GlobalAlignmentConfig(floor=0))
    with torch.no_grad():
        free.temperature.fill_(-0.5)
    assert float(free.bounded().detach()) == -0.5


def test_the_share_of_kept_patches_and_the_temperature_are_told(batch_of: MakeBatch) -> None:
    batch = batch_of([CAMERAS] * 4, pids=PIDS)
    stats = signal()(batch).stats
    assert set(stats) == {"kept_rgb", "kept_nir", "kept_tir", "temperature"}
    assert float(stats["temperature"]) == pytest.approx(0.07)
    for m in CAMERA:
        assert 10 / 32 <= float(stats[f"kept_{m.value}"]) <= 1
    assert float(signal(sim={"k1": 32})(batch).stats["kept_nir"]) == 1
    assert set(signal(sim={"enabled": False}, gam={"enabled": False})(batch).stats) == set()


def test_training_needs_complete_rows(batch_of: MakeBatch) -> None:
    with pytest.raises(DataError, match="Every row needs tir"):
        signal()(batch_of([CAMERAS, "rgb+nir"], pids=[0, 1]))
    assert parse_subset("rgb+nir") in signal().supported("query")


def test_losses_are_float32_and_near_under_autocast(batch_of: MakeBatch) -> None:
    batch = batch_of([CAMERAS] * 4, pids=PIDS)
    exact = values(signal()(batch))
    model = signal()
    with torch.autocast("cpu", torch.bfloat16):
        output = model(batch)
    total(output).backward()
    assert {x.dtype for x in output.losses.values()} == {torch.float32}
    for name, value in values(output).items():
        assert value == pytest.approx(exact[name], rel=0.1, abs=0.01), name
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in model.parameters())


def test_one_batch_is_learned_in_thirty_steps(batch_of: MakeBatch) -> None:
    model = signal(label_smoothing=0.0, gam={"smoothing": 0.0})
    batch = batch_of([CAMERAS] * 8, pids=[0, 0, 1, 1, 2, 2, 3, 3])
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    history = []
    for _ in range(30):
        output = model(batch)
        optimizer.zero_grad()
        total(output).backward()
        optimizer.step()
        history.append(values(output))
    for name in history[0]:
        assert history[-1][name] < 0.8 * history[0][name], name
