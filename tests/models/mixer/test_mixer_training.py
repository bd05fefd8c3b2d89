"""What MixER learns from: its losses, their gradients and the statistics that it tells."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from reid.config.typed import check
from reid.data.batches.batch import Batch
from reid.errors import DataError
from reid.modality import parse_subset
from reid.models.base import ModelContext, Output
from reid.models.mixer.cross_modal_triplet import mixed_cross_modal_triplet
from reid.models.mixer.model import Config, Model
from reid.models.mixer.necks import Neck
from reid.nn.losses.triplet import batch_hard_triplet

MakeBatch = Callable[..., Batch]
TOWER = {"arch": None, "patch": 8, "width": 32, "layers": 2, "heads": 2, "dim": 16}
ROWS, PIDS = ["rgb", "rgb", "nir", "nir"] * 2, [0, 0, 0, 0, 1, 1, 1, 1]
ALL = {
    "id_erased",
    "metric_erased",
    "id_related",
    "metric_related",
    "modality",
    "orthogonality",
    "id_fused",
    "cross_triplet",
}


def mixer(**fields: Any) -> Model:
    """A tiny MixER in training mode, of four identities."""
    torch.manual_seed(1)
    sizes = {"backbone": "resnet18", "base_width": 8, "tower": TOWER}
    config = check(Config, {**sizes, **fields}, "model")
    return Model(config, ModelContext(4, 3, 32, 16, parse_subset("rgb+nir"))).train()


def total(output: Output) -> Tensor:
    return torch.stack(list(output.losses.values())).sum()


def values(output: Output) -> dict[str, float]:
    return {name: float(loss.detach()) for name, loss in output.losses.items()}


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({}, ALL),
        ({"branch_layout": "e_r"}, ALL),
        ({"branch_layout": "e_r_base"}, ALL | {"id_base", "metric_base"}),
        ({"branch_layout": "e"}, {"id_erased", "metric_erased", "modality"}),
        ({"branch_layout": "e", "modality_weight": 0}, {"id_erased", "metric_erased"}),
        ({"metric": {"kind": "none"}}, ALL - {"metric_erased", "metric_related"}),
        ({"orthogonality_weight": 0}, ALL - {"orthogonality"}),
        ({"fusion_weight": 0}, ALL - {"id_fused", "cross_triplet"}),
        ({"mid_weight": 0}, ALL - {"id_related", "metric_related"}),
        ({"cross_triplet": {"enabled": False, "centre_weight": 1}}, ALL - {"cross_triplet"} | {"centres"}),
    ],
)
def test_losses_are_named_finite_and_reach_every_trainable_parameter(
    batch_of: MakeBatch, fields: dict[str, Any], names: set[str]
) -> None:
    model = mixer(**fields)
    output = model(batch_of(ROWS, pids=PIDS))
    assert set(output.losses) == names
    assert all(torch.isfinite(x) and x.ndim == 0 for x in output.losses.values())
    total(output).backward()
    for name, p in model.named_parameters():
        assert p.requires_grad == (p.grad is not None and bool(p.grad.any())), name
    assert {n for n, p in model.named_parameters() if not p.requires_grad} == {
        f"head.necks.{part}.norms.0.bias" for part in model.head.kinds
    }


@pytest.mark.parametrize(
    "fields",
    [
        {"backbone": "resnet50"},
        {"backbone": "tower"},
        {"two_stream_stem": True, "pooling": "gem", "dual_norm": True},
        {"orthogonality": {"on": "raw", "form": "squared"}},
        {"orthogonality": {"form": "correlation"}},
        {"orthogonality": {"form": "projection"}},
        {"metric": {"kind": "centre"}},
        {"metric": {"margin": None}, "cross_triplet": {"margin": None, "negatives": "each"}},
    ],
)
def test_every_option_trains(batch_of: MakeBatch, fields: dict[str, Any]) -> None:
    model = mixer(**fields)
    output = model(batch_of(ROWS, pids=PIDS))
    assert set(output.losses) == ALL
    total(output).backward()
    for name, p in model.named_parameters():
        if p.requires_grad:
            assert p.grad is not None and torch.isfinite(p.grad).all() and p.grad.any(), name


def test_losses_are_weighted_and_the_papers_weights_are_the_default(batch_of: MakeBatch) -> None:
    batch = batch_of(ROWS, pids=PIDS)
    names = ("meid", "mid", "modality", "orthogonality", "fusion")
    once = values(mixer(**{f"{n}_weight": 1.0 for n in names})(batch))
    found = values(mixer()(batch))
    for name in ALL:
        factor = {"modality": 0.4, "orthogonality": 0.6, "id_fused": 0.4, "cross_triplet": 0.4}.get(name, 1.0)
        assert found[name] == pytest.approx(factor * once[name], rel=1e-5), name


def features(model: Model, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor, Tensor]:
    """Raw and normalised features of the parts, identities and modalities, one picture after the other."""
    shared, visible = model._shared(batch)
    raw = model.head(shared, visible).parts
    order = torch.cat([batch.index[m] for m in model.modalities])
    normed = {}
    for part, x in raw.items():
        neck = model.head.necks[part]
        assert isinstance(neck, Neck)
        weight = neck.norms[0].get_parameter("weight")
        normed[part] = (x - x.mean(0)) / (x.var(0, correction=0) + 1e-5).sqrt() * weight
    kinds = torch.tensor([0] * visible + [1] * (len(order) - visible))
    return dict(raw), normed, batch.pid[order], kinds


def test_each_loss_is_what_its_formula_says(batch_of: MakeBatch) -> None:
    batch = batch_of(ROWS, pids=PIDS)
    model = mixer(modality_weight=1.0, orthogonality_weight=1.0, fusion_weight=1.0)
    with torch.no_grad():
        for p in model.head.parameters():
            p.add_(0.2 * torch.randn_like(p))
        model.head.necks["erased"].get_parameter("norms.0.bias").zero_()
        model.head.necks["related"].get_parameter("norms.0.bias").zero_()
        raw, normed, labels, kinds = features(model, batch)
        found = values(model(batch))
        head, n = model.head, len(labels)

        def cross_entropy(logits: Tensor, targets: list[int]) -> float:
            return sum(float(row.logsumexp(0) - row[t]) for row, t in zip(logits, targets, strict=True)) / n

        logits = normed["erased"] @ head.classifiers["erased"].get_parameter("weight").T
        assert found["id_erased"] == pytest.approx(cross_entropy(logits, labels.tolist()), rel=1e-4)
        logits = normed["related"] @ head.classifiers["related"].get_parameter("weight").T
        joint = [int(y) + 4 * int(k) for y, k in zip(labels, kinds, strict=True)]
        assert logits.shape[1] == 8
        assert found["id_related"] == pytest.approx(cross_entropy(logits, joint), rel=1e-4)
        assert head.modality is not None
        assert found["modality"] == pytest.approx(
            cross_entropy(head.modality(raw["erased"]), kinds.tolist()), rel=1e-4
        )
        cosines = [
            abs(float(a @ b / (a.norm() * b.norm())))
            for a, b in zip(normed["erased"], normed["related"], strict=True)
        ]
        assert found["orthogonality"] == pytest.approx(sum(cosines) / n, rel=1e-4)
        fused = torch.cat([normed["erased"], normed["related"]], dim=1)
        logits = fused @ head.classifiers["fused"].get_parameter("weight").T
        assert found["id_fused"] == pytest.approx(cross_entropy(logits, labels.tolist()), rel=1e-4)
        triplet = float(mixed_cross_modal_triplet(fused, labels, kinds, 0.3))
        assert found["cross_triplet"] == pytest.approx(triplet, rel=1e-4)
        pooled = float(batch_hard_triplet(raw["erased"], labels, 0.3))
        assert found["metric_erased"] == pytest.approx(pooled, rel=1e-4)
        within = [
            float(batch_hard_triplet(raw["related"][kinds == k], labels[kinds == k], 0.3)) for k in (0, 1)
        ]
        assert found["metric_related"] == pytest.approx(sum(within) / 2, rel=1e-4)


def test_raw_features_of_copies_start_with_a_cosine_of_one(batch_of: MakeBatch) -> None:
    batch = batch_of(ROWS, pids=PIDS)
    raw = mixer(orthogonality={"on": "raw"}, orthogonality_weight=1.0, branch_layout="e_r")
    assert values(raw(batch))["orthogonality"] == pytest.approx(1.0, abs=1e-5)


def test_a_detached_side_gets_no_gradient_of_orthogonality(batch_of: MakeBatch) -> None:
    for side, name in (("erased", "erased"), ("related", "related_visible")):
        model = mixer(orthogonality={"detach": side, "on": "raw"})
        with torch.no_grad():
            for p in model.head.branches.stages.parameters():
                p.add_(0.1 * torch.randn_like(p))
        model(batch_of(ROWS, pids=PIDS)).losses["orthogonality"].backward()
        stages = model.head.branches.stages
        for stage in ("erased", "related_visible", "related_infrared"):
            first = next(stages[stage].parameters())
            detached = stage.startswith(name.split("_")[0])
            assert (first.grad is None or not first.grad.any()) == detached, (side, stage)


def test_the_backbone_is_pushed_away_from_telling_modality_while_the_map_learns_it(
    batch_of: MakeBatch,
) -> None:
    batch = batch_of(ROWS, pids=PIDS)

    def gradients(**fields: Any) -> tuple[Tensor, Tensor]:
        model = mixer(**fields)
        model(batch).losses["modality"].backward()
        assert model.head.modality is not None and model.head.modality.weight.grad is not None
        first = next(model.trunk.parameters())
        assert first.grad is not None
        return first.grad, model.head.modality.weight.grad

    (trunk, w), (half, same) = gradients(), gradients(reversal={"strength": 0.5})
    assert torch.allclose(half, 0.5 * trunk, atol=1e-6)
    assert torch.allclose(w, same)
    model = mixer()
    shared, visible = model._shared(batch)
    erased = model.head(shared, visible).parts["erased"]
    assert model.head.modality is not None
    kinds = torch.tensor([0] * 4 + [1] * 4)
    loss = 0.4 * F.cross_entropy(model.head.modality(erased), kinds)  # without reversal
    (plain,) = torch.autograd.grad(loss, [next(model.trunk.parameters())])
    assert torch.allclose(trunk, -plain, atol=1e-6)


def test_the_strength_of_the_reversal_rises_with_training_steps(batch_of: MakeBatch) -> None:
    model, batch = mixer(reversal={"ramp_steps": 4}), batch_of(ROWS, pids=PIDS)
    told = [float(model(batch).stats["reversal"]) for _ in range(5)]
    assert told[0] < told[1] < told[3] < told[4] + 1e-6
    assert told[-1] == pytest.approx(2 / (1 + math.exp(-10)) - 1)
    assert int(model.state_dict()["head.reversal.steps"]) == 5


def test_a_row_with_both_modalities_counts_as_two_pictures(batch_of: MakeBatch) -> None:
    pairs = batch_of(["rgb+nir"] * 4, pids=[0, 0, 1, 1])
    apart = Batch(
        pid=torch.cat([pairs.pid, pairs.pid]),
        present=torch.cat([pairs.only([m]).present for m in pairs.modalities]),
        camid=torch.cat([pairs.camid] * 2),
        viewid=torch.cat([pairs.viewid] * 2),
        images=pairs.images,
        index={m: torch.arange(4) + 4 * i for i, m in enumerate(pairs.modalities)},
    )
    assert values(mixer()(pairs)) == pytest.approx(values(mixer()(apart)), rel=1e-6)
    assert mixer()(pairs).features.shape == (4, mixer().dim)


def test_a_batch_of_one_modality_is_refused_with_the_remedy(batch_of: MakeBatch) -> None:
    with pytest.raises(DataError, match=r"no nir picture.*train\.batch\.sampler=cross"):
        mixer()(batch_of(["rgb"] * 4, pids=[0, 0, 1, 1]))
    with pytest.raises(DataError, match="no rgb picture"):
        mixer()(batch_of(["nir"] * 4, pids=[0, 0, 1, 1]))


def test_an_identity_of_one_modality_trains_without_cross_positives(batch_of: MakeBatch) -> None:
    output = mixer()(batch_of(["rgb", "rgb", "nir", "nir", "rgb", "rgb"], pids=[0, 0, 0, 0, 1, 1]))
    assert all(torch.isfinite(x) for x in output.losses.values())


def test_losses_are_float32_and_near_under_autocast(batch_of: MakeBatch) -> None:
    batch = batch_of(ROWS, pids=PIDS)
    for fields in ({}, {"backbone": "tower"}):
        exact = values(mixer(**fields)(batch))
        model = mixer(**fields)
        with torch.autocast("cpu", torch.bfloat16):
            output = model(batch)
        total(output).backward()
        assert {x.dtype for x in output.losses.values()} == {torch.float32}
        for name, value in values(output).items():
            assert value == pytest.approx(exact[name], rel=0.15, abs=0.05), name
        assert all(p.grad is None or torch.isfinite(p.grad).all() for p in model.parameters())


def test_the_features_are_those_of_vectors(batch_of: MakeBatch) -> None:
    model, batch = mixer(), batch_of(["rgb", "nir", "rgb+nir"], pids=[0, 0, 1])
    output = model(batch)
    assert output.features.shape == (3, model.dim)
    assert not output.features.requires_grad
    stats = {"modality_accuracy", "reversal", "cosine"}
    assert set(output.stats) == stats
    assert 0 <= float(output.stats["modality_accuracy"]) <= 1


@pytest.mark.parametrize("backbone", ["resnet18", "tower"])
def test_one_batch_is_learned_in_forty_steps(batch_of: MakeBatch, backbone: str) -> None:
    model, batch = mixer(backbone=backbone), batch_of(ROWS, pids=PIDS)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=2e-3)
    history = []
    for _ in range(40):
        output = model(batch)
        optimizer.zero_grad()
        total(output).backward()
        optimizer.step()
        history.append(values(output))
    for name in ALL - {"modality"}:  # which the backbone holds up
        assert history[-1][name] < 0.7 * history[0][name], name
    assert sum(history[-1].values()) < 0.4 * sum(history[0].values())
