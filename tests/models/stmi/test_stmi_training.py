"""What STMI learns from: its losses, their gradients, what is random, and the statistics that it tells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from reid.data.batches.batch import UNKNOWN, Batch, join
from reid.errors import DataError
from reid.models.base import Output
from reid.models.stmi.model import Model
from reid.nn.losses.triplet import batch_hard_triplet
from tests.support.models.tiny_stmi import CAMERAS, STILL, stmi, with_auxiliaries

MakeBatch = Callable[..., Batch]
PIDS = [0, 0, 1, 1]
HEADS = ("g", "u", "t")


@pytest.fixture
def batch(batch_of: MakeBatch) -> Batch:
    """Four rows of two identities with captions and masks."""
    return with_auxiliaries(batch_of([CAMERAS] * 4, pids=PIDS))


def training(**fields: Any) -> Model:
    return stmi(**{**STILL, **fields}).train()


def total(output: Output) -> Tensor:
    return torch.stack(list(output.losses.values())).sum()


def values(output: Output) -> dict[str, float]:
    return {name: float(loss.detach()) for name, loss in output.losses.items()}


@pytest.mark.parametrize(
    ("fields", "heads"),
    [
        ({}, HEADS),
        ({"sfm": {"enabled": False}}, HEADS),
        ({"chi": {"kind": "none"}}, HEADS),
        ({"semantic": {"enabled": False}}, ("g",)),
    ],
)
def test_each_of_g_u_and_t_has_a_pair_of_finite_losses(
    batch: Batch, fields: dict[str, Any], heads: tuple[str, ...]
) -> None:
    model = training(**fields)
    output = model(batch)
    assert set(output.losses) == {f"{kind}_{head}" for head in heads for kind in ("id", "triplet")}
    assert set(model.heads) == set(heads)
    assert all(torch.isfinite(x) and x.ndim == 0 for x in output.losses.values())


def test_losses_are_weighted_and_the_margin_is_soft_unless_given(batch: Batch) -> None:
    once = values(training()(batch))
    weighted = values(training(id_weight=0.25, triplet_weight=2.0, text_weight=0.5)(batch))
    for name, value in once.items():
        factor = (0.25 if name.startswith("id") else 2.0) * (0.5 if name.endswith("_t") else 1)
        assert weighted[name] == pytest.approx(factor * value, rel=1e-5), name
    model = training(margin=0.3)
    output = model(batch)
    u = output.features.detach()
    assert values(output)["triplet_u"] == pytest.approx(
        float(batch_hard_triplet(u, batch.pid, 0.3)), rel=1e-5
    )
    assert once["triplet_u"] == pytest.approx(float(batch_hard_triplet(u, batch.pid)), rel=1e-5)


def test_the_features_are_the_vectors_before_normalising(batch: Batch) -> None:
    model = training(retrieval="GU")
    features = model(batch).features
    with torch.no_grad():
        vectors = model.eval().embed(batch, "query")
    assert torch.allclose(torch.nn.functional.normalize(features, dim=1), vectors, atol=1e-6)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"share_backbone": False, "sfm": {"scope": "head", "per_modality": True, "flip": 0}},
        {"sfm": {"scope": "late", "param": "sigmoid", "flip": 0}},
        {"chi": {"kind": "attention", "layers": 2}, "retrieval": "GU"},
        {"chi": {"kind": "graph", "tau_mode": "quantile", "weight": "softplus"}},
        {"chi": {"kind": "none"}, "semantic": {"tokens": 1, "shared": True}},
        {"semantic": {"enabled": False}},
    ],
)
def test_gradients_reach_every_trainable_parameter(batch_of: MakeBatch, fields: dict[str, Any]) -> None:
    model = training(modality_embedding=True, **fields)
    parts = [batch_of([CAMERAS] * 2, pids=[p, p], camera=c, seed=p) for p, c in enumerate((0, 2, UNKNOWN))]
    whole = with_auxiliaries(join(parts), captions=[True, True, True, False, True, True])
    total(model(whole)).backward()
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            assert name.endswith("norm.bias"), name
            continue
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name
    sketch = model.get_parameter("class_bias.kind").grad
    assert sketch is not None and not sketch[3].any()


def test_frozen_text_leaves_its_encoder_and_trains_the_rest(batch: Batch) -> None:
    model = training(text_trainable=False)
    total(model(batch)).backward()
    frozen = [n for n, p in model.named_parameters() if n.startswith("text_tower.")]
    assert frozen and all(not model.get_parameter(n).requires_grad for n in frozen)
    assert model.get_parameter("heads.t.classifier.weight").grad is not None


def test_the_captions_encoder_learns_through_the_tokens_and_through_its_own_loss(batch: Batch) -> None:
    name = "text_tower.text.token_embedding.weight"
    for key in ("id_u", "id_t"):
        model = training()
        model(batch).losses[key].backward()
        gradient = model.get_parameter(name).grad
        assert gradient is not None and gradient.any(), key
    model = training()
    model(batch).losses["id_g"].backward()
    assert model.get_parameter(name).grad is None


def test_rows_without_a_caption_have_no_part_in_its_losses(batch: Batch, batch_of: MakeBatch) -> None:
    more = join([batch, batch_of([CAMERAS] * 2, pids=[2, 2], seed=9)])
    assert more.caption_present is not None
    assert more.caption_present.tolist() == [True] * 4 + [False] * 2
    few, many = values(training()(batch)), values(training()(more))
    for key in ("id_t", "triplet_t"):
        assert many[key] == pytest.approx(few[key], rel=1e-5)
    assert many["id_u"] != pytest.approx(few["id_u"], rel=1e-3)


@pytest.mark.parametrize("captions", [0, 1])
def test_data_without_captions_or_masks_train_with_null_inputs(batch_of: MakeBatch, captions: int) -> None:
    model, plain = training(), batch_of([CAMERAS] * 4, pids=PIDS)
    given = [True] * captions + [False] * (4 - captions)
    plain = with_auxiliaries(plain, captions=given, masks=False) if captions else plain
    output = model(plain)
    assert values(output)["id_t"] == values(output)["triplet_t"] == 0
    total(output).backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad), "as DDP asks"
    assert model.get_parameter("text_null").grad.any()  # type: ignore[union-attr]
    assert not model.get_parameter("sfm.alpha").grad.any()  # type: ignore[union-attr]


def test_what_is_random_in_training_is_still_in_evaluation(batch: Batch) -> None:
    model = stmi(caption_dropout=0.5, sfm={"flip": 0.5}).train()
    first, second = model(batch).features, model(batch).features
    assert not torch.allclose(first, second, atol=1e-4)
    still = training()
    assert torch.equal(still(batch).features, still(batch).features)
    with torch.no_grad():
        assert torch.equal(model.eval().embed(batch, "query"), model.embed(batch, "query"))


def test_one_draw_raises_the_same_patches_in_all_modalities(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = stmi(sfm={"flip": 0.5}).train()
    seen: list[Tensor] = []
    assert model.sfm is not None
    encode = model.sfm.encode

    def note(tower: Any, tokens: Any, mask: Any, *rest: Any, **more: Any) -> Tensor:
        seen.append(mask.tokens)
        return encode(tower, tokens, mask, *rest, **more)

    monkeypatch.setattr(model.sfm, "encode", note)
    model(batch)
    model(batch)
    first, second = (x.view(3, 4, -1) for x in seen)
    assert (first == first[:1]).all()
    assert not torch.equal(first, second), "drawn anew at every step"


def test_the_null_caption_is_learned_by_leaving_captions_out(batch: Batch) -> None:
    model = stmi(caption_dropout=0.6, sfm={"flip": 0.0}).train()
    torch.manual_seed(3)
    total(model(batch)).backward()
    assert model.get_parameter("text_null").grad.any()  # type: ignore[union-attr]
    never = training()
    total(never(batch)).backward()
    assert not never.get_parameter("text_null").grad.any()  # type: ignore[union-attr]


def test_without_captions_only_the_null_caption_is_learned(batch: Batch) -> None:
    model = stmi(captions=False, sfm={"flip": 0.0}).train()
    total(model(batch)).backward()
    assert model.get_parameter("text_null").grad.any()  # type: ignore[union-attr]
    assert not any(p.grad.any() for n, p in model.named_parameters() if "text_tower" in n)  # type: ignore[union-attr]


def test_strengths_and_the_size_of_hyperedges_are_told(batch: Batch) -> None:
    stats = training()(batch).stats
    assert set(stats) == {"alpha", "beta", "hyperedge"}
    assert 0 < float(stats["alpha"]) < 1
    assert 1 <= float(stats["hyperedge"]) <= 15
    assert float(training(chi={"tau": -1})(batch).stats["hyperedge"]) == 15
    assert float(training(chi={"tau": 1})(batch).stats["hyperedge"]) == 1
    assert "hyperedge" not in training(chi={"kind": "attention"})(batch).stats
    assert set(training(sfm={"enabled": False})(batch).stats) == {"hyperedge"}


def test_training_needs_complete_rows(batch_of: MakeBatch) -> None:
    with pytest.raises(DataError, match="Every row needs tir"):
        training()(batch_of([CAMERAS, "rgb+nir"], pids=[0, 1]))


def test_losses_are_float32_and_near_under_autocast(batch: Batch) -> None:
    fields = {"chi": {"tau_mode": "quantile"}}
    exact = values(training(**fields)(batch))
    model = training(**fields)
    with torch.autocast("cpu", torch.bfloat16):
        output = model(batch)
    total(output).backward()
    assert {x.dtype for x in output.losses.values()} == {torch.float32}
    for name, value in values(output).items():
        assert value == pytest.approx(exact[name], rel=0.1, abs=0.02), name
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in model.parameters())


def test_one_batch_is_learned_in_thirty_steps(batch_of: MakeBatch) -> None:
    model = stmi(label_smoothing=0.0).train()
    batch = with_auxiliaries(batch_of([CAMERAS] * 8, pids=[0, 0, 1, 1, 2, 2, 3, 3]))
    batch = replace(batch, caption=batch.caption[batch.pid * 2])  # type: ignore[index]
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
